"""A small Retrace for one test: our services on the real servers, users with a history, a model to deploy."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
from uuid6 import uuid7

import commands.api.app
import commands.processor.worker
import inference.counting.worker
import inference.deployment.deployer
import inference.serving.app
import projections.api
import projections.runner
from inference.client import Accepted, CommandClient
from inference.models import ease
from inference.serving.app import Parts
from inference.store import ArtifactStore
from inference.triton.client import Triton
from inference.triton.repository import withdraw
from infra.ending import ended
from infra.health import Health
from infra.http import QuietServer, install, server_config
from infra.kafka.facts import FactWriter
from infra.postgres import connect
from infra.registry.enlist import open_decoder
from infra.settings import HttpSettings, Settings, child_environment
from schemas.catalog import AddItem
from schemas.codec import Codec, Record
from schemas.deployments import RequestDeployment
from schemas.envelope import Meta
from schemas.errors import Unavailable
from schemas.interactions import InteractionRecorded
from schemas.models import CompleteTraining, OffsetRange, RequestTraining, StartTraining

from ..calling import http_session
from ..eventually import eventually
from .reference import toy

ROOT = Path(__file__).resolve().parents[2]
DATA = toy(users=30, items=40, rows=900)
WORKERS = {
    "processor": commands.processor.worker.work,
    "projector": projections.runner.work,
    "deployer": inference.deployment.deployer.work,
    "counter": inference.counting.worker.work,
}
APPS = {
    "commands": commands.api.app.create_app,
    "queries": projections.api.create_app,
    "serving": inference.serving.app.create_app,
}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@dataclass
class Town:
    """What a test works with.

    Attributes:
        settings: its corner of the servers; no two towns share a model's name.
        model: name of its model.
    """

    settings: Settings
    model: str
    client: CommandClient
    http: aiohttp.ClientSession
    running: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    servers: dict[str, QuietServer] = field(default_factory=dict)
    children: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    _codec: Codec | None = None

    async def start(self, *roles: str) -> None:
        """Run services in this process."""
        for role in roles:
            health = Health(role)
            work = self._serve(role, health) if role in APPS else WORKERS[role](self.settings, health)
            self.running[role] = asyncio.create_task(work)
            await eventually(lambda r=role, h=health: self._is_up(r, h), 120)  # type: ignore[misc]

    def _serve(self, role: str, health: Health) -> Coroutine[Any, Any, None]:
        app = APPS[role](self.settings, health)
        install(app, health)
        address: HttpSettings = getattr(self.settings, role)
        self.servers[role] = QuietServer(server_config(app, address))
        return _served(self.servers[role])

    async def _is_up(self, role: str, health: Health) -> bool:
        return health.ready and (role not in APPS or self.servers[role].started)

    @property
    def parts(self) -> Parts:
        """What `serving` works with."""
        app: Any = self.servers["serving"].config.app
        parts: Parts = app.state.parts
        return parts

    async def stop(self, role: str) -> None:
        """End a service of this process, as SIGTERM does."""
        with contextlib.suppress(Exception):  # of why it failed, its test has been told
            await ended(self.running.pop(role))

    async def start_apart(self, role: str) -> None:
        """Run a service in a process of its own, that may be killed."""
        self.children[role] = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "console", "serve", role),
            env=child_environment(self.settings) | {"PYTHONPATH": str(ROOT)},
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def kill(self, role: str) -> None:
        """End a process without letting it say goodbye."""
        child = self.children.pop(role)
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()

    async def send(self, command: Record) -> Accepted:
        return await self.client.send(command)

    async def stock(self) -> None:
        """Items in the catalogue and interactions in the log."""
        for item in DATA.items:
            await self.send(
                AddItem(item_id=item, title=f"Film {item}", categories=("even",) if int(item[1:]) % 2 == 0 else ())
            )
        for user, items in DATA.histories().items():
            await self.interact(user, *items)

    async def stocked(self) -> None:
        """Wait until serving knows all that `stock` has recorded."""

        async def look() -> bool:
            world = self.parts.routing.world
            counted = sum(count for _, count in world.popular)
            return (len(world.catalogue.items), counted) == (len(DATA.items), len(DATA))

        await eventually(look, 60)

    async def interact(self, user: str, *items: str) -> None:
        """Record that a user met items, in this order."""
        if self._codec is None:
            self._codec = (await open_decoder(self.settings)).codec
        began = datetime.now(UTC)
        async with FactWriter(self.settings, self._codec) as writer:
            facts = [
                InteractionRecorded(
                    user_id=user, item_id=item, kind="view", occurred_at=began + timedelta(milliseconds=i)
                )
                for i, item in enumerate(items)
            ]
            await writer.append_all([(fact, meta(fact, user)) for fact in facts])

    def artifact(self, **params: Any) -> str:
        """Train and store; the artifact's hash."""
        return ArtifactStore(self.settings).put(ease.MODEL.train(DATA, ease.MODEL.configure(params), 20))

    async def deploy(self, version: int, artifact_sha256: str) -> str:
        """Ask for a version; the deployment's id."""
        id = f"d{version}-{uuid4().hex[:6]}"
        await self.send(
            RequestDeployment(model=self.model, deployment_id=id, version=version, artifact_sha256=artifact_sha256)
        )
        return id

    async def register(self, artifact_sha256: str) -> None:
        """Make an artifact the next version of the model, as a trainer does."""
        model, run, zeros = self.model, uuid4().hex, "0" * 64
        ranges = (OffsetRange(topic="interactions", partition=0, first=0, end=1),)
        await self.send(RequestTraining(model=model, run_id=run, algorithm="ease"))
        await self.send(StartTraining(model=model, run_id=run, ranges=ranges))
        done: dict[str, Any] = {
            "dataset_sha256": zeros,
            "dataset_rows": 1,
            "duplicates": 0,
            "artifact_bytes": 1,
            "duration_s": 1.0,
        }
        await self.send(CompleteTraining(model=model, run_id=run, artifact_sha256=artifact_sha256, metrics={}, **done))

    async def deployed(self, version: int, artifact_sha256: str) -> None:
        """Deploy a version and wait until it has gone all the way."""
        id = await self.deploy(version, artifact_sha256)
        await self.reaches(id, "completed")

    async def reaches(self, deployment_id: str, *steps: str, timeout_s: float = 120) -> dict[str, Any]:
        """The deployment as the read model has it, when it stands at one of `steps`."""

        async def look() -> dict[str, Any] | None:
            row = await self.row("SELECT * FROM deployments WHERE deployment_id = %s", deployment_id)
            return row if row and row["step"] in steps else None

        return await eventually(look, timeout_s, 0.05)

    async def row(self, statement: str, *values: Any) -> dict[str, Any] | None:
        connection = await connect(self.settings, "test")
        async with connection:
            return await (await connection.execute(statement.encode(), values)).fetchone()

    async def loaded(self, *versions: int) -> list[int]:
        """Which of the versions Triton has loaded; none while it is away."""
        async with Triton(self.settings.triton.grpc[0]) as triton:
            with contextlib.suppress(Unavailable):
                return [version for version in versions if await triton.ready(f"{self.model}-v{version}")]
        return []

    async def recommend(self, user: str, **params: Any) -> dict[str, Any]:
        url = f"{self.settings.serving.url}/users/{user}/recommendations"
        async with self.http.get(url, params=params) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, answer
            return answer

    async def answers(
        self, user: str, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = 60
    ) -> dict[str, Any]:
        """The first answer that is as wanted."""

        async def look() -> dict[str, Any] | None:
            answer = await self.recommend(user)
            return answer if wanted(answer) else None

        return await eventually(look, timeout_s)

    async def close(self) -> None:
        for child in list(self.children):
            await self.kill(child)
        for role in reversed(list(self.running)):
            await self.stop(role)
        with contextlib.suppress(Exception):
            async with Triton(self.settings.triton.grpc[0]) as triton:
                for version in range(1, 6):
                    await triton.unload(f"{self.model}-v{version}")
                    withdraw(self.settings.model_repository, f"{self.model}-v{version}")


@contextlib.asynccontextmanager
async def open_town(settings: Settings, *, patience_ms: int = 10_000, **changes: Any) -> AsyncIterator[Town]:
    """A town with the write side and the projector running.

    Args:
        patience_ms: how long serving waits for PostgreSQL and for Triton before it falls back.
    """
    model = f"m{uuid4().hex[:8]}"
    recommend = settings.recommend.model_copy(update={"default_model": model, "store_timeout_ms": patience_ms})
    mine = settings.model_copy(
        update={
            "commands": HttpSettings(port=free_port()),
            "queries": HttpSettings(port=free_port()),
            "serving": HttpSettings(port=free_port()),
            "recommend": recommend,
            "deployer": settings.deployer.model_copy(update={"grace_s": 0.3, "retry_s": 0.5, "reconcile_s": 0.3}),
            "triton": settings.triton.model_copy(update={"timeout_ms": patience_ms}),
            **changes,
        }
    )
    mine = Settings(**mine.model_dump())
    async with CommandClient(mine, actor="test") as client, http_session(mine) as http:
        town = Town(mine, model, client, http)
        try:
            await town.start("processor", "commands", "projector")
            yield town
        finally:
            await town.close()


async def _served(server: QuietServer) -> None:
    task = asyncio.create_task(server.serve())
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        server.should_exit = True
        await task
        raise


def meta(event: Record, key: str) -> Meta:
    return Meta(id=uuid7(), type=event.AVRO, source="test", subject=key, time=datetime.now(UTC))
