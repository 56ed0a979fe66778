"""What every HTTP service of ours has: problem documents, correlation, metrics, health."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import orjson
import structlog
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, Histogram, generate_latest
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid6 import uuid7

from infra.access.openapi import open_to_all
from infra.health import Health
from infra.settings import HttpSettings
from infra.telemetry import COMPONENT, HTTP_SECONDS, PROBLEMS, READY
from schemas.errors import Problem

PROBLEM_JSON = "application/problem+json"
PROBLEM_BASE = "urn:retrace:problem:"
CORRELATION_HEADER = "x-correlation-id"
CORRELATION_ID = re.compile(rb"[!-~]{1,128}")

log = structlog.get_logger()


def problem_response(problem: Problem, instance: str, headers: dict[str, str] | None = None) -> Response:
    """A problem as an RFC 9457 document."""
    PROBLEMS.labels(problem.code).inc()
    document = {
        "type": PROBLEM_BASE + problem.code.replace("_", "-"),
        "title": problem.code.replace("_", " ").capitalize(),
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        "code": problem.code,
        **({"errors": list(problem.errors)} if problem.errors else {}),
        **problem.extra,
    }
    headers = {**_also_said(problem), **(headers or {})}
    return Response(orjson.dumps(document, default=str), problem.status, headers, PROBLEM_JSON)


def _also_said(problem: Problem) -> dict[str, str]:
    """Headers that go with a status.

    Source: RFC 6750, section 3, for the challenge.
    """
    if problem.status == 401:
        why = "" if problem.code == "key_missing" else ', error="invalid_token"'
        return {"www-authenticate": f'Bearer realm="retrace"{why}'}
    return {"retry-after": "1"} if problem.status == 503 else {}


def install(app: FastAPI, health: Health) -> None:
    """Give `app` the parts that all services share."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_middleware(Correlation)
    _add_health_routes(app, health)


def _add_health_routes(app: FastAPI, health: Health) -> None:
    @app.get("/health/live", tags=["health"], summary="Whether the process runs", openapi_extra=open_to_all())
    async def live() -> dict[str, object]:
        return {"service": health.service, "alive": True}

    @app.get(
        "/health/ready",
        tags=["health"],
        summary="Whether the service can do its work, and why not",
        openapi_extra=open_to_all(),
    )
    async def ready() -> Response:
        return Response(orjson.dumps(health.report()), 200 if health.ready else 503, media_type="application/json")

    @app.get(
        "/metrics",
        tags=["health"],
        summary="Prometheus metrics",
        response_class=PlainTextResponse,
        openapi_extra=open_to_all(),
    )
    async def metrics() -> Response:
        READY.labels(health.service).set(health.ready)
        for name, component in health.components.items():
            COMPONENT.labels(health.service, name).set(component.ok)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


class Correlation:
    """Gives each request a correlation id, binds it to the log lines and answers it; counts and times the request.

    It also answers for requests that crash: Starlette's own handler stands outside of it, without the id.

    Plain ASGI: bodies stream through untouched.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        correlation_id = _correlation_id(scope)
        scope.setdefault("state", {})["correlation_id"] = correlation_id
        started = time.perf_counter()
        status: int | None = None

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (CORRELATION_HEADER.encode(), correlation_id.encode()),
                ]
            await send(message)

        bound = structlog.contextvars.bind_contextvars(correlation_id=correlation_id)
        try:
            await self._app(scope, receive, answer)
        except Exception as fault:
            if status is not None:  # too late for another answer: uvicorn breaks the connection
                raise
            await _crashed(scope, fault)(scope, receive, answer)
        finally:
            structlog.contextvars.reset_contextvars(**bound)
            route = getattr(scope.get("route"), "path", "unknown")
            _seconds(scope["method"], route, status or 500).observe(time.perf_counter() - started)


@cache
def _seconds(method: str, route: str, status: int) -> Histogram:
    """The histogram of one kind of answer, looked up once."""
    return HTTP_SECONDS.labels(method, route, status)


def _correlation_id(scope: Scope) -> str:
    """The client's id where it is short and plain: it goes into every event for ever; else a new one."""
    given = next((value for name, value in scope["headers"] if name == CORRELATION_HEADER.encode()), b"")
    return given.decode() if CORRELATION_ID.fullmatch(given) else str(uuid7())


def _crashed(scope: Scope, fault: Exception) -> Response:
    log.error("request crashed", path=scope["path"], exc_info=fault)
    return problem_response(Problem("a fault of ours; the log has it under this correlation id"), scope["path"])


async def _on_problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    if problem.status >= 500:
        log.error("request failed", code=problem.code, detail=problem.detail, path=request.url.path)
    return problem_response(problem, request.url.path)


async def _on_invalid(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)
    errors = [{"pointer": _pointer(e["loc"]), "detail": str(e["msg"])} for e in fault.errors()]
    malformed = any(e["type"] == "json_invalid" for e in fault.errors())
    detail = "the request does not have the form that this operation takes; see `errors` for each field"
    problem = Problem(detail, code="malformed_json" if malformed else "invalid", errors=errors)
    return problem_response(_with_status(problem, 400 if malformed else 422), request.url.path)


async def _on_http_exception(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    codes = {404: "no_such_route", 405: "method_not_allowed"}
    problem = Problem(f"{request.method} {request.url.path}: {fault.detail}", code=codes.get(fault.status_code, "http"))
    headers = dict(fault.headers or {}) | ({"allow": _allowed(request)} if fault.status_code == 405 else {})
    return problem_response(_with_status(problem, fault.status_code), request.url.path, headers)


def _allowed(request: Request) -> str:
    """Every method of this path: the framework names those of its first route only."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in routes for method in route.methods or ()}))


def _with_status(problem: Problem, status: int) -> Problem:
    problem.status = status
    return problem


def _pointer(location: tuple[Any, ...]) -> str:
    parts = location[1:] if location and location[0] in ("body", "query", "path", "header") else location
    return "/" + "/".join(str(part) for part in parts)


class QuietServer(uvicorn.Server):
    """A server that leaves the signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def server_config(app: FastAPI, http: HttpSettings) -> uvicorn.Config:
    """How we run uvicorn: logging is ours, open requests get 10 s to end."""
    return uvicorn.Config(
        app,
        host=http.host,
        port=http.port,
        http="httptools",
        ws="none",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
    )
