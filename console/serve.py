"""`retrace serve ROLE`: one service of Retrace in this process."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import typer
import uvloop

from infra.service import run_app, run_worker
from infra.settings import HttpSettings, Settings
from schemas.errors import Problem

# Imported when served, so that each process loads only its own role.
HTTP_ROLES = {
    "registry": "infra.registry.server",
    "commands": "commands.api.app",
    "queries": "projections.api",
    "serving": "inference.serving.app",
}
WORKER_ROLES = {
    "processor": "commands.processor.worker",
    "scheduler": "commands.scheduler.worker",
    "eraser": "commands.eraser.worker",
    "projector": "projections.runner",
    "trainer": "inference.training.worker",
    "deployer": "inference.deployment.deployer",
    "embedder": "inference.sentences.embedder",
    "counter": "inference.counting.worker",
    "streams": "streams.app",
    "notary": "infra.audit.notary",
}


def serve(role: str = typer.Argument(help=f"one of {', '.join([*HTTP_ROLES, *WORKER_ROLES])}")) -> None:
    """Run one service until it is told to stop."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            running = _running(role, Settings())
            _spare_collections()
            runner.run(running)
    except* Problem as problems:
        raise typer.Exit(_told(problems)) from problems


def _running(role: str, settings: Settings) -> Coroutine[Any, Any, None]:
    if role in HTTP_ROLES:
        create: Callable[..., Any] = import_module(HTTP_ROLES[role]).create_app
        return run_app(role, settings, _address(role, settings), create)
    if role in WORKER_ROLES:
        return run_worker(role, settings, import_module(WORKER_ROLES[role]).work)
    raise typer.BadParameter(f"there is no role '{role}'; the roles are {', '.join([*HTTP_ROLES, *WORKER_ROLES])}")


def _spare_collections() -> None:
    """Keep the garbage collector off what lives as long as the process: a full collection stops every request.

    What a service lets go of is freed by reference counts; cycles are few (tracebacks), and wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _address(role: str, settings: Settings) -> HttpSettings:
    if role == "registry":
        url = urlsplit(settings.registry.url)
        return HttpSettings(host=url.hostname or "127.0.0.1", port=url.port or 8081)
    address: HttpSettings = getattr(settings, role)
    return address


def _told(problems: BaseExceptionGroup[Problem]) -> int:
    for problem in problems.exceptions:
        typer.echo(f"retrace: {problem}", err=True)
    return 1
