"""The registry over HTTP: the part of Confluent's REST API that its clients use for Avro.

Reads are answered from memory. What is not found there may have been written by another replica a moment ago, so the
end of the log is read before anybody is told that something does not exist.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, Protocol, TypeAlias, TypeVar

import orjson
import structlog
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from infra.health import Health
from infra.registry.log import SchemaLog
from infra.registry.request import CONTENT_TYPE, LevelBody, Page, SchemaBody
from infra.settings import Settings
from schemas.compatibility import Level
from schemas.errors import Invalid, NotFound, Problem
from schemas.registry import Record, Registry, Version

MAX_VERSION = 2**31 - 1
ERROR_CODES = {
    "subject_not_found": 40401,
    "version_not_found": 40402,
    "schema_not_found": 40403,
    "subject_deleted": 40404,
    "subject_not_deleted": 40405,
    "version_deleted": 40406,
    "version_not_deleted": 40407,
    "level_not_found": 40408,
    "incompatible_schema": 409,
    "invalid_schema": 42201,
    "invalid_version": 42202,
    "invalid_level": 42203,
    "not_permitted": 42205,
    "invalid_subject": 42208,
    "unavailable": 50001,
}

T = TypeVar("T")
Json: TypeAlias = Any
Deleted = Annotated[bool, Query(description="also what is deleted but not yet removed")]
Normalize = Annotated[bool, Query(description="ignore the order of attributes that Avro does not define")]
Permanent = Annotated[bool, Query(description="take out of the log what was deleted before")]

log = structlog.get_logger()


class Log(Protocol):
    """What the service needs of a log."""

    @property
    def registry(self) -> Registry:
        """What has been read so far."""

    async def catch_up(self) -> Registry:
        """What all replicas have committed up to now."""

    async def write(self, decide: Callable[[Registry], Sequence[Record]]) -> Registry:
        """Append what `decide` returns for the state at the end of the log."""


class RegistryResponse(Response):
    """JSON under the content type that Confluent's clients ask for."""

    media_type = CONTENT_TYPE

    def render(self, content: Json) -> bytes:
        """As bytes."""
        return orjson.dumps(content)


Paged = Annotated[Page, Depends()]


def create_app(settings: Settings, health: Health) -> FastAPI:
    """The service over the topic of `settings`, to be run by `infra.service`."""
    schema_log = SchemaLog(settings, health)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.mount("/", registry_api(schema_log))  # last, or it would hide the health routes
        await schema_log.start()
        yield
        await schema_log.stop()

    return FastAPI(title="Retrace schema registry", lifespan=lifespan, openapi_url=None)


def registry_api(schema_log: Log) -> FastAPI:
    """The API over a log that somebody else starts: an application of its own, whose errors look like Confluent's."""
    api = FastAPI(title="Retrace schema registry", default_response_class=RegistryResponse)
    api.add_exception_handler(Problem, _on_problem)
    api.add_exception_handler(RequestValidationError, _on_invalid)
    api.add_exception_handler(HTTPException, _on_http_exception)
    api.add_exception_handler(Exception, _on_fault)
    for add_routes in (_subjects, _versions, _schemas, _compatibility, _levels):
        add_routes(api, schema_log)
    return api


async def _ask(schema_log: Log, question: Callable[[Registry], T]) -> T:
    try:
        return question(schema_log.registry)
    except NotFound:
        return question(await schema_log.catch_up())


def _subjects(app: FastAPI, schema_log: Log) -> None:
    @app.get("/", include_in_schema=False)
    async def root() -> Json:
        return {}

    @app.get("/subjects")
    async def subjects(
        page: Paged,
        prefix: Annotated[str, Query(alias="subjectPrefix")] = "",
        deleted: Deleted = False,
        deleted_only: bool = False,
    ) -> Json:
        registry = schema_log.registry
        names = registry.subjects(prefix, deleted=deleted or deleted_only)
        living = set(registry.subjects(prefix)) if deleted_only else set()
        return page.of([name for name in names if name not in living])

    @app.post("/subjects/{subject:path}/versions")
    async def register(subject: str, body: SchemaBody, normalize: Normalize = False) -> Json:
        text = body.avro
        registry = await schema_log.write(lambda r: r.register(subject, text, normalize=normalize))
        version = registry.find(subject, text, normalize=normalize)
        log.info("schema registered", subject=subject, version=version.version, id=version.id)
        return {"id": version.id}

    @app.delete("/subjects/{subject:path}/versions/{version}")
    async def delete_version(subject: str, version: str, permanent: Permanent = False) -> Json:
        number = _number(version)
        found = await _ask(schema_log, lambda r: r.version(subject, number, deleted=number is not None))
        await schema_log.write(lambda r: r.delete_version(subject, found.version, permanent=permanent))
        return found.version

    @app.delete("/subjects/{subject:path}")
    async def delete_subject(subject: str, permanent: Permanent = False) -> Json:
        found = await _ask(schema_log, lambda r: r.versions(subject, deleted=permanent))
        await schema_log.write(lambda r: r.delete_subject(subject, permanent=permanent))
        return [version.version for version in found]


def _versions(app: FastAPI, schema_log: Log) -> None:
    @app.get("/subjects/{subject:path}/versions")
    async def versions(subject: str, page: Paged, deleted: Deleted = False, deleted_only: bool = False) -> Json:
        def numbers(registry: Registry) -> list[int]:
            registry.version(subject, None, deleted=deleted or deleted_only)
            known = registry.versions(subject, deleted=deleted or deleted_only)
            return [version.version for version in known if version.deleted or not deleted_only]

        return page.of(await _ask(schema_log, numbers))

    @app.get("/subjects/{subject:path}/versions/{version}/schema")
    async def version_schema(subject: str, version: str, deleted: Deleted = False) -> Response:
        number = _number(version)
        found = await _ask(schema_log, lambda r: r.version(subject, number, deleted=deleted))
        return Response(found.schema, media_type=CONTENT_TYPE)

    @app.get("/subjects/{subject:path}/versions/{version}/referencedby")
    async def referenced_by(subject: str, version: str) -> Json:
        number = _number(version)
        await _ask(schema_log, lambda r: r.version(subject, number))
        return []

    @app.get("/subjects/{subject:path}/versions/{version}")
    async def one_version(subject: str, version: str, deleted: Deleted = False) -> Json:
        number = _number(version)
        return _shown(await _ask(schema_log, lambda r: r.version(subject, number, deleted=deleted)))

    @app.post("/subjects/{subject:path}")
    async def lookup(subject: str, body: SchemaBody, normalize: Normalize = False, deleted: Deleted = False) -> Json:
        text = body.avro
        return _shown(await _ask(schema_log, lambda r: r.find(subject, text, normalize=normalize, deleted=deleted)))


def _schemas(app: FastAPI, schema_log: Log) -> None:
    @app.get("/schemas/types")
    async def types() -> Json:
        return ["AVRO"]

    @app.get("/schemas/ids/{schema_id}")
    async def schema(schema_id: int, fetch_max_id: Annotated[bool, Query(alias="fetchMaxId")] = False) -> Json:
        text = await _ask(schema_log, lambda r: r.schema(schema_id))
        return {"schema": text, **({"maxId": schema_log.registry.max_id} if fetch_max_id else {})}

    @app.get("/schemas/ids/{schema_id}/schema")
    async def schema_text(schema_id: int) -> Response:
        return Response(await _ask(schema_log, lambda r: r.schema(schema_id)), media_type=CONTENT_TYPE)

    @app.get("/schemas/ids/{schema_id}/subjects")
    async def schema_subjects(schema_id: int, page: Paged, subject: str = "", deleted: Deleted = False) -> Json:
        found = await _ask(schema_log, lambda r: r.uses(schema_id, deleted=deleted))
        return page.of(sorted({v.subject for v in found if subject in ("", v.subject)}))

    @app.get("/schemas/ids/{schema_id}/versions")
    async def schema_versions(schema_id: int, page: Paged, subject: str = "", deleted: Deleted = False) -> Json:
        found = await _ask(schema_log, lambda r: r.uses(schema_id, deleted=deleted))
        return page.of([{"subject": v.subject, "version": v.version} for v in found if subject in ("", v.subject)])


def _compatibility(app: FastAPI, schema_log: Log) -> None:
    async def judge(subject: str, body: SchemaBody, against: int | Literal["latest", "all"], verbose: bool) -> Json:
        text = body.avro
        found = await _ask(schema_log, lambda r: r.faults(subject, text, against))
        return {"is_compatible": not found, **({"messages": found} if verbose else {})}

    @app.post("/compatibility/subjects/{subject:path}/versions/{version}")
    async def with_one(subject: str, version: str, body: SchemaBody, verbose: bool = False) -> Json:
        return await judge(subject, body, _number(version) or "latest", verbose)

    @app.post("/compatibility/subjects/{subject:path}/versions")
    async def with_all(subject: str, body: SchemaBody, verbose: bool = False) -> Json:
        return await judge(subject, body, "all", verbose)


def _levels(app: FastAPI, schema_log: Log) -> None:
    @app.get("/mode")
    @app.get("/mode/{subject:path}")
    async def mode() -> Json:
        return {"mode": "READWRITE"}

    @app.get("/config")
    async def level() -> Json:
        return {"compatibilityLevel": schema_log.registry.level(None)}

    @app.get("/config/{subject:path}")
    async def subject_level(
        subject: str, default_to_global: Annotated[bool, Query(alias="defaultToGlobal")] = False
    ) -> Json:
        if default_to_global:
            return {"compatibilityLevel": schema_log.registry.level(subject)}
        return {"compatibilityLevel": await _ask(schema_log, lambda r: r.own_level(subject))}

    @app.put("/config")
    async def set_level(body: LevelBody) -> Json:
        return await put(None, body.level)

    @app.put("/config/{subject:path}")
    async def set_subject_level(subject: str, body: LevelBody) -> Json:
        return await put(subject, body.level)

    @app.delete("/config")
    async def clear_level() -> Json:
        before = schema_log.registry.level(None)
        await schema_log.write(lambda r: r.clear_level(None))
        return {"compatibilityLevel": before}

    @app.delete("/config/{subject:path}")
    async def clear_subject_level(subject: str) -> Json:
        before = await _ask(schema_log, lambda r: r.own_level(subject))
        await schema_log.write(lambda r: r.clear_level(subject))
        return {"compatibilityLevel": before}

    async def put(subject: str | None, level: Level) -> Json:
        await schema_log.write(lambda r: r.set_level(subject, level))
        log.info("compatibility level set", subject=subject, level=level)
        return {"compatibility": level}


def _number(version: str) -> int | None:
    """The version asked for, None for the latest."""
    if version in ("latest", "-1"):
        return None
    if not version.isdecimal() or not 1 <= int(version) <= MAX_VERSION:
        raise Invalid(f"A version is a number from 1 to {MAX_VERSION} or 'latest'.", code="invalid_version")
    return int(version)


def _shown(version: Version) -> Json:
    return {"subject": version.subject, "version": version.version, "id": version.id, "schema": version.schema}


def _error(status: int, code: int, message: str) -> Response:
    return RegistryResponse({"error_code": code, "message": message}, status)


async def _on_problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    if problem.status >= 500:
        log.error("request failed", code=problem.code, detail=problem.detail, path=request.url.path)
    return _error(problem.status, ERROR_CODES.get(problem.code, problem.status), problem.detail)


async def _on_invalid(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)
    faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in fault.errors())
    return _error(422, 422, faults)


async def _on_http_exception(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    return _error(fault.status_code, fault.status_code, str(fault.detail))


async def _on_fault(request: Request, fault: Exception) -> Response:
    log.error("request crashed", path=request.url.path, exc_info=fault)
    return _error(500, 500, "a fault of ours; the log has it under this correlation id")
