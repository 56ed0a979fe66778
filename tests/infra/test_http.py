"""What every HTTP service answers, asked over a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
import structlog
from fastapi import FastAPI, Query
from pydantic import BaseModel
from structlog.testing import capture_logs

from infra.health import Health
from infra.http import CORRELATION_HEADER, PROBLEM_JSON, QuietServer, install, server_config
from infra.settings import HttpSettings
from schemas.errors import Conflict, Invalid, Unavailable

log = structlog.get_logger()


class Film(BaseModel):
    title: str
    year: int


def service(health: Health) -> FastAPI:
    """A service whose routes go wrong in every way."""
    app = FastAPI()
    install(app, health)

    @app.post("/films")
    async def add(film: Film) -> Film:
        return film

    @app.get("/films/{number}")
    async def show(number: int, size: int = Query(1, le=10)) -> int:
        return number * size

    @app.get("/conflict")
    async def conflict() -> None:
        raise Conflict("the film is at version 3", extra={"version": 3})

    @app.get("/invalid")
    async def invalid() -> None:
        raise Invalid("no such genre", errors=[{"pointer": "/genre", "detail": "unknown"}])

    @app.get("/unavailable")
    async def unavailable() -> None:
        raise Unavailable("Kafka is away: try again")

    @app.get("/crash")
    async def crash() -> None:
        log.info("about to crash")
        raise RuntimeError("secret detail")

    return app


@asynccontextmanager
async def running(health: Health | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """The service behind a client."""
    server = QuietServer(server_config(service(health or Health("films")), HttpSettings()))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        server.should_exit = True
        await task


async def problem(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The problem document, whose form is checked in passing (RFC 9457, section 3.1)."""
    assert response.content_type == PROBLEM_JSON
    document: dict[str, Any] = json.loads(await response.read())
    assert document["status"] == response.status
    assert document["instance"] == response.url.path
    assert document["type"].startswith("urn:retrace:problem:")
    assert {"title", "detail", "code"} <= document.keys()
    return document


async def test_malformed_json_is_a_400() -> None:
    """The client's parser, not its data, is at fault."""
    async with running() as client:
        answer = await client.post("/films", data=b"{no", headers={"content-type": "application/json"})
        assert (answer.status, (await problem(answer))["code"]) == (400, "malformed_json")


async def test_a_wrong_body_is_a_422_that_names_each_field() -> None:
    """All faults at once, with pointers into the body."""
    async with running() as client:
        answer = await client.post("/films", json={"year": "soon"})
        document = await problem(answer)
        assert (answer.status, document["code"]) == (422, "invalid")
        assert {error["pointer"] for error in document["errors"]} == {"/title", "/year"}


async def test_wrong_parameters_are_a_422() -> None:
    """A path or a query is checked as a body is."""
    async with running() as client:
        assert (await problem(await client.get("/films/seven")))["errors"][0]["pointer"] == "/number"
        assert (await problem(await client.get("/films/7?size=99")))["errors"][0]["pointer"] == "/size"


async def test_an_unknown_route_and_a_wrong_method_are_problems_too() -> None:
    """Clients parse one form of error only."""
    async with running() as client:
        assert (await problem(await client.get("/nowhere")))["code"] == "no_such_route"
        answer = await client.delete("/films")
        assert (answer.status, (await problem(answer))["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "POST"


async def test_a_problem_of_the_domain_keeps_its_code_and_members() -> None:
    """What the decider said reaches the client."""
    async with running() as client:
        answer = await client.get("/conflict")
        document = await problem(answer)
        assert (answer.status, document["code"], document["version"]) == (412, "version_conflict", 3)
        assert (await problem(await client.get("/invalid")))["errors"] == [{"pointer": "/genre", "detail": "unknown"}]


async def test_what_is_away_says_when_to_try_again() -> None:
    """Retrying clients read the header."""
    async with running() as client:
        answer = await client.get("/unavailable")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")


async def test_a_crash_is_a_problem_that_tells_nothing_of_the_inside() -> None:
    """The detail is in the log, under the correlation id that the client got."""
    async with running() as client:
        with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
            answer = await client.get("/crash")
        document = await problem(answer)
        assert answer.status == 500
        assert "secret" not in json.dumps(document)
        crashed = next(line for line in lines if line["event"] == "request crashed")
        assert crashed["correlation_id"] == answer.headers[CORRELATION_HEADER]
        assert isinstance(crashed["exc_info"], RuntimeError)
        assert (await client.get("/films/7")).status == 200, "the service goes on"


async def test_a_correlation_id_is_given_or_kept() -> None:
    """One id from the client's log through ours into the headers of the events."""
    async with running() as client:
        kept = await client.get("/films/7", headers={CORRELATION_HEADER: "from-the-client"})
        assert kept.headers[CORRELATION_HEADER] == "from-the-client"
        first, second = await client.get("/films/7"), await client.get("/nowhere")
        assert first.headers[CORRELATION_HEADER] != second.headers[CORRELATION_HEADER]


@pytest.mark.parametrize("given", ["x" * 129, "tab\there", "ümlaut"])
async def test_a_correlation_id_that_is_none_is_replaced(given: str) -> None:
    """It is written into every event for ever: short and plain, or not at all."""
    async with running() as client:
        answer = await client.get("/films/7", headers={CORRELATION_HEADER: given})
        assert answer.headers[CORRELATION_HEADER] != given


async def test_log_lines_of_a_request_carry_its_correlation_id() -> None:
    """Without it lines of different requests cannot be told apart."""
    async with running() as client:
        with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
            await client.get("/crash", headers={CORRELATION_HEADER: "mine"})
        assert [line["correlation_id"] for line in lines if line["event"] == "about to crash"] == ["mine"]


async def test_health_says_why() -> None:
    """On-call people read it before they read code."""
    health = Health("films")
    async with running(health) as client:
        assert (await client.get("/health/live")).status == 200
        assert (await client.get("/health/ready")).status == 503, "nothing is known yet"
        health.ok("kafka", "4 partitions")
        assert (await client.get("/health/ready")).status == 200
        health.failed("postgres", "connection refused")
        answer = await client.get("/health/ready")
        report = orjson.loads(await answer.read())
        assert answer.status == 503
        assert report["components"]["postgres"]["cause"] == "connection refused"
        assert report["components"]["kafka"]["ok"]


async def test_metrics_are_prometheus_text_by_route() -> None:
    """By route, not by path: ids in labels would fill the metrics store."""
    async with running() as client:
        await client.get("/films/4711")
        text = await (await client.get("/metrics")).text()
        assert 'retrace_http_request_seconds_count{method="GET",route="/films/{number}",status="200"}' in text
        assert "/4711" not in text
        assert 'retrace_ready{service="films"} 0.0' in text
