"""Starting and stopping a service: logging, signals, health port."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import structlog
import uvicorn
from fastapi import FastAPI

from infra.health import Health
from infra.http import QuietServer, install, server_config
from infra.log import configure_logging
from infra.settings import HttpSettings, Settings
from schemas.errors import Problem

Work: TypeAlias = Callable[[Settings, Health], Coroutine[Any, Any, None]]

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0

log = structlog.get_logger()


async def run_worker(name: str, settings: Settings, work: Work) -> None:
    """Run `work` until it ends or the process is told to stop, beside a port for health and metrics.

    While something that `work` needs is away, it is begun again every few seconds, and health says what is missing; the
    log has all it needs to go on. Any other fault ends the process.
    """
    configure_logging(name, settings.log_level)
    health = Health(name)
    app = FastAPI(title=f"Retrace {name}")
    install(app, health)
    server = QuietServer(server_config(app, settings.health))
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as group:
            port = group.create_task(server.serve())
            worker = group.create_task(_begun_again(settings, health, work))
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, worker.cancel)
            try:
                await worker
            finally:
                log.info("stopped")
                server.should_exit = True
                await asyncio.shield(port)


async def _begun_again(settings: Settings, health: Health, work: Work) -> None:
    pause_s = FIRST_PAUSE_S
    while True:
        started = time.monotonic()
        try:
            return await work(settings, health)
        except (Problem, ExceptionGroup) as fault:
            causes = list(_leaves(fault))
            if not all(isinstance(cause, Problem) and cause.retriable for cause in causes):
                raise
            _say(health, [str(cause) for cause in causes])
        except asyncio.CancelledError:
            if _is_told_to_stop():
                raise
            _say(health, ["a client library gave up"])  # with a cancellation of its own, as aiokafka's consumer may
        pause_s = FIRST_PAUSE_S if time.monotonic() - started > LONGEST_PAUSE_S else min(2 * pause_s, LONGEST_PAUSE_S)
        await asyncio.sleep(pause_s)
        health.components.clear()


def _say(health: Health, causes: list[str]) -> None:
    health.failed("work", "; ".join(causes))
    log.warning("begins again", causes=causes)


def _is_told_to_stop() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _leaves(fault: Exception) -> Iterator[BaseException]:
    if not isinstance(fault, ExceptionGroup):
        yield fault
        return
    for inner in fault.exceptions:
        yield from _leaves(inner)


async def run_app(
    name: str, settings: Settings, http: HttpSettings, create: Callable[[Settings, Health], FastAPI]
) -> None:
    """Serve the application that `create` makes until the process is told to stop."""
    configure_logging(name, settings.log_level)
    health = Health(name)
    app = create(settings, health)
    install(app, health)
    await uvicorn.Server(server_config(app, http)).serve()
