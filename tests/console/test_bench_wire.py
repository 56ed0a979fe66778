"""The client of the benchmark reads answers by hand: it must not take a refusal or a lost connection for an answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from console.bench.wire import Wire
from schemas.errors import Problem, Unavailable

ANSWERS = {
    "/good": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "/refused": b'HTTP/1.1 409 Conflict\r\ncontent-length: 33\r\n\r\n{"detail": "no", "code": "taken"}',
    "/no-problem": b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\n\r\nbad",
    "/unknown-length": b"HTTP/1.1 200 OK\r\n\r\n",
    "/gone": b"",
}


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
                content = ANSWERS[head.split()[1].decode()]
                for part in (content[:20], content[20:]):  # an answer comes in pieces
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                if not content:
                    return
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Wire(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", {"x": "y"}) as client:
        yield client


async def test_answers_come_back_on_connections_that_stay_open(wire: Wire) -> None:
    """A connection for each request would be most of what is measured."""
    assert await asyncio.gather(*(wire.send("POST", "/good", b"{}") for _ in range(5))) == [b"{}"] * 5
    assert await wire.send("POST", "/good", b"{}") == b"{}"


@pytest.mark.parametrize(
    ("path", "status", "code"), [("/refused", 409, "taken"), ("/no-problem", 502, Problem("").code)]
)
async def test_a_refusal_is_raised(wire: Wire, path: str, status: int, code: str) -> None:
    """A service that refuses everything would be the fastest."""
    with pytest.raises(Problem) as caught:
        await wire.send("PUT", path, b"{}")
    assert (caught.value.status, caught.value.code) == (status, code)
    assert await wire.send("POST", "/good", b"{}") == b"{}"


@pytest.mark.parametrize("path", ["/gone", "/unknown-length"])
async def test_a_connection_that_breaks_is_no_answer(wire: Wire, path: str) -> None:
    """The load goes on with another connection."""
    with pytest.raises(Unavailable):
        await asyncio.wait_for(wire.send("POST", path, b""), 60)
    assert await wire.send("POST", "/good", b"{}") == b"{}"


async def test_a_service_that_is_not_there_is_told() -> None:
    """Nothing to measure is not zero milliseconds."""
    async with Wire("http://127.0.0.1:9", {}) as nobody:
        with pytest.raises(Unavailable, match="does not answer"):
            await nobody.send("GET", "/", b"")
