"""Texts to vectors, by the sentence model that the role `embedder` brings to every Triton server."""

from collections.abc import Sequence
from itertools import count
from types import TracebackType
from typing import Self

import numpy as np
from tritonclient.grpc.aio import InferInput, InferRequestedOutput

from infra.triton import TritonConnection
from schemas.errors import NotFound, Problem, Unavailable

OUTPUT = [InferRequestedOutput("vector")]
LONGEST_TEXT = 4_000
"""Characters of a text that are looked at; the model itself reads some hundred of them."""


def served_as(model_sha256: str) -> str:
    """What Triton calls the sentence model whose ONNX file has this hash."""
    return f"sentences-{model_sha256[:12]}"


class SentenceServer(TritonConnection):
    """A Triton server that has sentence models."""

    async def vectors(self, name: str, texts: Sequence[str], timeout_s: float) -> list[list[float]]:
        """One vector of length 1 for each text.

        Raises:
            NotFound: no such model is loaded.
            Unavailable: the server is away.
            TimedOut: no answer within `timeout_s`.
            Incompatible: the model fails on a text.
        """
        tensor = InferInput("text", [len(texts), 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[text[:LONGEST_TEXT].encode()] for text in texts], dtype=np.object_))
        answer = await self._ask(self._client.infer(name, [tensor], outputs=OUTPUT, client_timeout=timeout_s))
        found: list[list[float]] = answer.as_numpy("vector").tolist()
        return found


class Sentences:
    """Every Triton server, of which the next one that can answers; use it in the event loop that made it.

    Args:
        addresses: host:port of each server's gRPC endpoint.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self.servers = [SentenceServer(address) for address in addresses]
        self._turn = count()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self.servers:
            await server.close()

    async def vectors(self, name: str, texts: Sequence[str], timeout_s: float) -> list[list[float]]:
        """As `SentenceServer.vectors`; a server that is away or has no such model is passed over.

        Raises:
            Unavailable, NotFound: none of them could; what the last one said.
            TimedOut, Incompatible: as `SentenceServer.vectors`.
        """
        first, said = next(self._turn), Problem("no Triton server is named: set RETRACE_TRITON__GRPC")
        for turn in range(len(self.servers)):
            try:
                return await self.servers[(first + turn) % len(self.servers)].vectors(name, texts, timeout_s)
            except (Unavailable, NotFound) as fault:
                said = fault
        raise said
