"""The Triton servers as a deployment sees them: a version is brought to all of them, or taken away from all."""

import asyncio
import time
from types import TracebackType
from typing import Self

from inference.artifact import Metadata, read_metadata
from inference.deployment.placement import Version
from inference.golden import golden_faults, validate
from inference.store import ArtifactStore
from inference.triton.client import Triton
from inference.triton.repository import publish, withdraw
from infra.settings import Settings
from schemas.errors import Incompatible, Unavailable

GOLDEN_TIMEOUT_S = 10.0
GONE_TIMEOUT_S = 30.0
GONE_POLL_S = 0.05


class Servers:
    """Every Triton server and the model repository that they share; use it as an async context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = ArtifactStore(settings)
        self._servers = [Triton(address) for address in settings.triton.grpc]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            await server.close()

    async def check(self, version: Version) -> tuple[dict[str, str], list[str]]:
        """What an artifact is, and everything that speaks against letting it serve.

        Raises:
            NotFound: it is not in the store.
            Incompatible: what is stored under its hash has another.
            Unavailable: the store cannot be read.
        """
        artifact = await asyncio.to_thread(self._store.get, version.artifact_sha256)
        faults = await asyncio.to_thread(validate, artifact)
        if faults:
            return {"bytes": str(len(artifact))}, faults
        metadata = await asyncio.to_thread(read_metadata, artifact)
        evidence = {
            "bytes": str(len(artifact)),
            "algorithm": f"{metadata.model} {metadata.model_version}",
            "items": str(len(metadata.items)),
            "golden": f"{len(metadata.golden)} of {len(metadata.golden)} exact in this process",
        }
        return evidence, [] if metadata.items else ["the model knows no items: train it on a wider range"]

    async def bring(self, version: Version) -> dict[str, str]:
        """Load a version on every server, warm it up and compare its golden requests; again is without effect.

        Returns:
            What each server did, by address.

        Raises:
            NotFound: the artifact is not in the store.
            Incompatible: a server cannot load it or answers otherwise than at export.
            Unavailable: a server is away.
            TimedOut: a server took too long.
        """
        artifact = await asyncio.to_thread(self._store.get, version.artifact_sha256)
        triton = self._settings.triton
        await asyncio.to_thread(
            publish,
            self._settings.model_repository,
            version.name,
            artifact,
            backend=triton.backend,
            instances=triton.instances,
        )
        metadata = await asyncio.to_thread(read_metadata, artifact)
        return {server.address: await _warm(server, version.name, metadata) for server in self._servers}

    async def lacking(self, version: Version) -> list[str]:
        """Addresses of the servers that do not have a version loaded.

        Raises:
            Unavailable: a server is away.
            TimedOut: a server says nothing.
        """
        return [server.address for server in self._servers if not await server.ready(version.name)]

    async def remove(self, name: str) -> dict[str, str]:
        """Unload a version everywhere and take it out of the repository; again is without effect.

        Returns:
            What each server did, by address.

        Raises:
            Unavailable: a server is away, or still has the version loaded.
            TimedOut: a server took too long.
        """
        for server in self._servers:
            await server.unload(name)
            await _gone(server, name)
        await asyncio.to_thread(withdraw, self._settings.model_repository, name)
        return {server.address: f"{name} unloaded" for server in self._servers}


async def _warm(server: Triton, name: str, metadata: Metadata) -> str:
    started = time.perf_counter()
    await server.load(name)
    loaded = time.perf_counter()
    for golden in metadata.golden:
        item_ids, scores = await server.infer(name, *metadata.encode(golden.history), GOLDEN_TIMEOUT_S)
        if faults := golden_faults(golden, item_ids[0], scores[0]):
            raise Incompatible(f"{server.address}: {'; '.join(faults)}", code="golden_mismatch")
    warm = time.perf_counter()
    count = len(metadata.golden)
    return (
        f"{name} loaded in {loaded - started:.2f} s, {count} of {count} golden requests exact in {warm - loaded:.3f} s"
    )


async def _gone(server: Triton, name: str) -> None:
    """Wait until a model answers no more: a load that was under way may end after the unload was asked for."""
    deadline = time.monotonic() + GONE_TIMEOUT_S
    while await server.ready(name):
        if time.monotonic() > deadline:
            raise Unavailable(f"Triton at {server.address} still has {name} loaded", code="triton_still_loaded")
        await asyncio.sleep(GONE_POLL_S)
