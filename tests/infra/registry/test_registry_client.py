import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from infra.registry.client import RegistryClient
from schemas.compatibility import Level
from schemas.errors import Incompatible, Invalid, NotFound, Unavailable

Serve = Callable[[], AbstractAsyncContextManager[str]]

A1 = {"type": "record", "name": "A", "fields": []}
A2 = {"type": "record", "name": "A", "fields": [{"name": "x", "type": "int", "default": 0}]}
BREAKING = {"type": "record", "name": "A", "fields": [{"name": "x", "type": "string"}]}


async def test_what_is_registered_is_found_again(serve: Serve) -> None:
    """The writer knows the subject, the reader only the id."""
    async with serve() as url, RegistryClient(url) as client:
        assert await client.register("a/b c", A1) == 1
        assert await client.register("a/b c", A2) == 2
        assert await client.schema_by_id(1) == '{"type":"record","name":"A","fields":[]}'
        assert (await client.latest("a/b c"))[:2] == (2, 2)
        assert await client.subjects() == ["a/b c"]


async def test_a_breaking_schema_is_refused_with_the_field(serve: Serve) -> None:
    """A service that would write unreadable events has to fail at its start, saying which field."""
    async with serve() as url, RegistryClient(url) as client:
        await client.register("s", A1)
        assert await client.check("s", A2) == []
        assert "field 'x' has no default" in (await client.check("s", BREAKING))[0]
        with pytest.raises(Incompatible, match="field 'x' has no default"):
            await client.register("s", BREAKING)
        await client.set_level(Level.NONE, "s")
        assert await client.register("s", BREAKING) == 2


async def test_errors_come_as_our_own(serve: Serve) -> None:
    """Callers handle one tree of errors, whatever they talk to."""
    async with serve() as url, RegistryClient(url) as client:
        with pytest.raises(NotFound):
            await client.schema_by_id(99)
        with pytest.raises(NotFound):
            await client.latest("none")
        with pytest.raises(Invalid):
            await client.check("s", "{")


async def test_two_replicas_are_one_registry(serve: Serve) -> None:
    """A schema that was answered must be found at the other replica at once, or a consumer stops for nothing."""
    async with serve() as one, serve() as two, RegistryClient(one) as writer, RegistryClient(two) as reader:
        for n in range(5):
            schema_id = await writer.register("s", {**A1, "doc": f"edition {n}"})
            assert f"edition {n}" in await reader.schema_by_id(schema_id)


async def test_the_other_replica_is_asked_when_one_is_away(serve: Serve) -> None:
    """Nothing stops while a replica is restarted."""
    async with serve() as url, RegistryClient(f"http://127.0.0.1:1,{url}") as client:
        assert await client.register("s", A1) == 1


async def test_a_registry_that_is_away_is_named() -> None:
    """The remedy begins with knowing which address was tried."""
    async with RegistryClient("http://127.0.0.1:1", retry_s=0.3) as client:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
            await client.subjects()


async def test_what_never_changes_is_asked_once() -> None:
    """A consumer meets the same id in every record."""
    asked = 0

    async def schema(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        return web.json_response({"schema": '"int"'})

    app = web.Application()
    app.router.add_get("/schemas/ids/7", schema)
    async with TestServer(app) as server, RegistryClient(str(server.make_url("/"))) as client:
        assert set(await asyncio.gather(*(client.schema_by_id(7) for _ in range(10)))) == {'"int"'}
        await client.schema_by_id(7)
    assert asked == 1
