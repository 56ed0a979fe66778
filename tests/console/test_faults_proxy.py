"""The proxy of a campaign: each mishap does what it is called, and nothing else is touched."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from console.faults.proxy import HOST, Mishap, Proxy, Target, read_frame

from ..eventually import eventually

FETCH = 1
HOLD_S = 0.2
NEVER_S = 600.0


def request(correlation: int, topic: str = "profiles", kind: int = 0) -> bytes:
    """A request as Kafka frames it, with nothing after the topic."""
    body = struct.pack(">hhi", kind, 7, correlation) + topic.encode()
    return struct.pack(">i", len(body)) + body


def correlation_of(frame: bytes) -> int:
    return int.from_bytes(frame[4:8])


class Broker:
    """Answers every request with its correlation id, and remembers them."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                frame = await read_frame(reader)
                self.got.append(frame)
                writer.write(struct.pack(">i", 4) + frame[8:12])
        except (OSError, asyncio.IncompleteReadError):
            writer.close()


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def ask(self, frame: bytes) -> int | None:
        """The correlation id that is answered; None when the connection is cut."""
        self.writer.write(frame)
        try:
            return correlation_of(await asyncio.wait_for(read_frame(self._reader), 60))
        except (OSError, asyncio.IncompleteReadError):
            return None


@asynccontextmanager
async def network(hold_s: float = HOLD_S) -> AsyncIterator[tuple[Broker, Proxy, Client]]:
    """A broker, the proxy before it, and a client of the proxy."""
    broker = Broker()
    server = await asyncio.start_server(broker.serve, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    proxy = Proxy(lambda: port, hold_s=hold_s)
    client = Client(*await asyncio.open_connection(HOST, await proxy.start()))
    try:
        yield broker, proxy, client
    finally:
        client.writer.close()
        await proxy.stop()
        server.close()


@pytest.mark.parametrize(
    ("mishap", "answered", "arrived"),
    [
        ("hold request", True, 1),
        ("hold ack", True, 1),
        ("repeat request", True, 2),
        ("lose ack", False, 1),
        ("lose request", False, 0),
        ("late request", False, 0),
        ("strand request", False, 0),
    ],
)
async def test_a_mishap_meets_one_produce_request(mishap: Mishap, answered: bool, arrived: int) -> None:
    """What a campaign is told to have happened has to have happened."""
    async with network(HOLD_S if answered else NEVER_S) as (broker, proxy, client):
        proxy.plan(mishap, "events")
        assert await client.ask(request(1)) == (1 if answered else None)
        assert len(broker.got) == arrived
        assert proxy.happened == {(mishap, "events"): 1}


async def test_after_a_mishap_answers_still_belong_to_their_questions() -> None:
    """The answer to the second copy of a request must not be taken for that to the next one."""
    async with network() as (_, proxy, client):
        proxy.plan("repeat request", "events")
        assert [await client.ask(request(number)) for number in (1, 2, 3)] == [1, 2, 3]


@pytest.mark.parametrize(("planned", "topic"), [("events", "profiles.commands"), ("commands", "profiles")])
async def test_only_the_target_is_met(planned: Target, topic: str) -> None:
    """Commands and events fail in different ways, so both have to be reached on purpose."""
    async with network() as (broker, proxy, client):
        proxy.plan("lose request", planned)
        assert await client.ask(request(1, topic)) == 1
        assert await client.ask(request(2, topic, FETCH)) == 2
        assert len(broker.got) == 2


async def test_a_late_request_arrives_when_its_connection_is_gone() -> None:
    """A packet from the past is what fencing by connection cannot stop."""
    async with network() as (broker, proxy, client):
        proxy.plan("late request", "events")
        assert await client.ask(request(1)) is None

        async def arrived() -> bool:
            return bool(broker.got)

        await eventually(arrived)
        assert broker.got == [request(1)]


async def test_a_stranded_request_waits_until_it_is_released() -> None:
    """By then its owner is dead, and another has written."""
    async with network() as (broker, proxy, client):
        proxy.plan("strand request", "events")
        assert await client.ask(request(1)) is None
        await asyncio.sleep(HOLD_S)
        assert broker.got == []
        assert await proxy.release() == 1
        assert broker.got == [request(1)]
