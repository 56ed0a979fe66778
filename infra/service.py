"""Starting and stopping a service: logging, signals, health port."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from infra.health import Health
from infra.http import QuietServer, install, server_config
from infra.log import configure_logging
from infra.settings import HttpSettings, Settings

log = structlog.get_logger()


async def run_worker(
    name: str, settings: Settings, work: Callable[[Settings, Health], Coroutine[Any, Any, None]]
) -> None:
    """Run `work` until it ends or the process is told to stop, beside a port for health and metrics.

    A fault in `work` ends the process with that fault: whoever supervises it starts it again, and the log
    has all it needs.
    """
    configure_logging(name, settings.log_level)
    health = Health(name)
    app = FastAPI(title=f"Retrace {name}")
    install(app, health)
    server = QuietServer(server_config(app, settings.health))
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as group:
            port = group.create_task(server.serve())
            worker = group.create_task(work(settings, health))
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, worker.cancel)
            try:
                await worker
            finally:
                log.info("stopped")
                server.should_exit = True
                await asyncio.shield(port)


async def run_app(
    name: str, settings: Settings, http: HttpSettings, create: Callable[[Settings, Health], FastAPI]
) -> None:
    """Serve the application that `create` makes until the process is told to stop."""
    configure_logging(name, settings.log_level)
    health = Health(name)
    app = create(settings, health)
    install(app, health)
    await uvicorn.Server(server_config(app, http)).serve()
