"""A network between Kafka and its clients that can be told to fail, one produce request at a time.

Kafka's protocol is framed: four bytes of length, then a request that begins with its kind, version and correlation id,
or a response that begins with the correlation id. That, and whether a produce request names a topic of commands, is all
that has to be understood to hold back, lose or repeat exactly a produce request or its acknowledgement.

Source: Apache Kafka protocol guide, "Protocol Primitive Types" and "Request/Response Header".
"""

import asyncio
import contextlib
import struct
from collections import Counter, deque
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

HOST = "127.0.0.1"
PRODUCE = 0
HEAD = struct.Struct(">hhi")
LENGTH = struct.Struct(">i")
NAMES = 200
"""So many bytes of a produce request hold its header and the name of its first topic."""

Target: TypeAlias = Literal["commands", "events"]
Mishap: TypeAlias = Literal[
    "hold request", "lose request", "late request", "repeat request", "hold ack", "lose ack", "strand request"
]
MISHAPS: tuple[Mishap, ...] = get_args(Mishap)


class Proxy:
    """Passes everything on to Kafka, but for the produce requests that a mishap waits for.

    Args:
        kafka_port: where Kafka listens now.
        hold_s: how long what is held back is held.

    Attributes:
        happened: how often each mishap met a request, by its target.
    """

    def __init__(self, kafka_port: Callable[[], int], *, hold_s: float = 2.0) -> None:
        self._kafka_port = kafka_port
        self._hold_s = hold_s
        self._waiting: dict[Target, deque[Mishap]] = {"commands": deque(), "events": deque()}
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._stranded: list[bytes] = []
        self.happened: Counter[tuple[Mishap, Target]] = Counter()

    async def start(self, port: int = 0) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._accept, HOST, port, limit=2**20)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Cut every connection and listen no more."""
        if self._server is not None:
            self._server.close()
        for task in (*self._connections, *self._late):
            task.cancel()
        await asyncio.gather(*self._connections, *self._late, return_exceptions=True)

    def plan(self, mishap: Mishap, target: Target, times: int = 1) -> None:
        """Let this happen to the next produce requests of this kind that nothing else is planned for."""
        self._waiting[target].extend([mishap] * times)

    def cut(self) -> None:
        """Break every connection there is."""
        for task in self._connections:
            task.cancel()

    async def release(self) -> int:
        """Bring what was stranded to Kafka now; returns how many requests that were."""
        stranded, self._stranded = self._stranded, []
        for frame in stranded:
            await self._deliver(frame, 0)
        return len(stranded)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # a broken connection is what this is for
        finally:
            self._connections.discard(task)
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_kafka, to_kafka = await asyncio.open_connection(HOST, self._kafka_port(), limit=2**20)
        link = Link(self, to_kafka, writer, self._hold_s)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(link.requests(reader))
                both.create_task(link.responses(from_kafka))
        except* (OSError, asyncio.IncompleteReadError, ConnectionResetError):
            pass
        finally:
            to_kafka.close()

    def next_mishap(self, frame: bytes) -> Mishap | None:
        """What happens to the produce request at hand."""
        target: Target = "commands" if b".commands" in frame[:NAMES] else "events"
        if not self._waiting[target]:
            return None
        mishap = self._waiting[target].popleft()
        self.happened[mishap, target] += 1
        return mishap

    def deliver_late(self, frame: bytes) -> None:
        """Bring a request to Kafka after its connection is long gone, as a packet that was held up on its way."""
        task = asyncio.create_task(self._deliver(frame, self._hold_s))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def strand(self, frame: bytes) -> None:
        """Keep a request until `release`."""
        self._stranded.append(frame)

    async def _deliver(self, frame: bytes, after_s: float) -> None:
        await asyncio.sleep(after_s)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(HOST, self._kafka_port())
            writer.write(frame)
            await read_frame(reader)
            writer.close()


class Link:
    """One connection, both ways."""

    def __init__(
        self, proxy: Proxy, to_kafka: asyncio.StreamWriter, to_client: asyncio.StreamWriter, hold_s: float
    ) -> None:
        self._proxy = proxy
        self._to_kafka = to_kafka
        self._to_client = to_client
        self._hold_s = hold_s
        self._acks: dict[int, Mishap] = {}

    async def requests(self, reader: asyncio.StreamReader) -> None:
        """What the client asks."""
        while True:
            frame = await read_frame(reader)
            kind, _version, correlation = HEAD.unpack_from(frame, LENGTH.size)
            mishap = self._proxy.next_mishap(frame) if kind == PRODUCE else None
            match mishap:
                case "hold request":
                    await asyncio.sleep(self._hold_s)
                case "lose request":
                    raise ConnectionResetError("the request is lost")
                case "late request":
                    self._proxy.deliver_late(frame)
                    raise ConnectionResetError("the request comes late")
                case "strand request":
                    self._proxy.strand(frame)
                    raise ConnectionResetError("the request is stranded")
                case "repeat request":
                    self._acks[correlation] = mishap
                    self._to_kafka.write(frame)
                case "hold ack" | "lose ack":
                    self._acks[correlation] = mishap
                case None:
                    pass
            self._to_kafka.write(frame)
            await self._to_kafka.drain()

    async def responses(self, reader: asyncio.StreamReader) -> None:
        """What Kafka answers."""
        while True:
            frame = await read_frame(reader)
            (correlation,) = LENGTH.unpack_from(frame, LENGTH.size)
            match self._acks.pop(correlation, None):
                case "hold ack":
                    await asyncio.sleep(self._hold_s)
                case "lose ack":
                    raise ConnectionResetError("the acknowledgement is lost")
                case "repeat request":
                    await read_frame(reader)  # the client knows nothing of the second one
                case _:
                    pass
            self._to_client.write(frame)
            await self._to_client.drain()


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """One request or response with its length.

    Raises:
        asyncio.IncompleteReadError: the connection ended.
    """
    length = await reader.readexactly(LENGTH.size)
    return length + await reader.readexactly(LENGTH.unpack(length)[0])
