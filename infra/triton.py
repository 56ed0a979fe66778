"""A connection to one Triton server over gRPC, and its errors in our words."""

from collections.abc import Awaitable
from types import TracebackType
from typing import Self, TypeVar

from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from schemas.errors import Incompatible, NotFound, Problem, TimedOut, Unavailable

T = TypeVar("T")

CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
"""gRPC's own backoff grows to two minutes, far longer than a server takes to restart."""


class TritonConnection:
    """A connection to one server; use it as an async context manager, in the event loop that made it.

    Args:
        address: host:port of its gRPC endpoint.
        load_timeout_s: how long loading or unloading a model may take.
    """

    def __init__(self, address: str, *, load_timeout_s: float = 60) -> None:
        self.address = address
        self._load_timeout_s = load_timeout_s
        self._client = InferenceServerClient(address, channel_args=CHANNEL)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.close()

    async def load(self, name: str) -> None:
        """Load a published model, or do nothing when it is loaded already.

        Raises:
            Incompatible: Triton cannot load it; its reason is in the message.
            Unavailable: the server is away.
            TimedOut: it took longer than `load_timeout_s`; it may still be loaded.
        """
        if not await self.ready(name):
            await self._ask(self._client.load_model(name, client_timeout=self._load_timeout_s))

    async def unload(self, name: str) -> None:
        """Unload a model; without effect when it is not loaded. Requests in flight are finished.

        Raises:
            Unavailable: the server is away.
            TimedOut: it took longer than `load_timeout_s`; it may still be unloaded.
        """
        await self._ask(self._client.unload_model(name, client_timeout=self._load_timeout_s))

    async def ready(self, name: str, timeout_s: float = 5) -> bool:
        """Whether the model answers requests now.

        Raises:
            Unavailable: the server is away.
            TimedOut: it is there, but says nothing.
        """
        return bool(await self._ask(self._client.is_model_ready(name, client_timeout=timeout_s)))

    async def _ask(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except InferenceServerException as fault:
            raise _translate(fault, self.address) from fault


def _translate(fault: InferenceServerException, address: str) -> Problem:
    said = f"Triton at {address}: {fault.message()}"
    match fault.status():
        case "StatusCode.DEADLINE_EXCEEDED":
            return TimedOut(said, code="triton_timeout")
        case "StatusCode.NOT_FOUND":
            return NotFound(said, code="triton_model_not_loaded")
        case "StatusCode.UNAVAILABLE" | "StatusCode.RESOURCE_EXHAUSTED" | "StatusCode.CANCELLED":
            return Unavailable(said, code="triton_unavailable")
        case _:
            return Incompatible(said, code="triton_refused")
