"""How our services talk to a schema registry: ours, or any that speaks Confluent's REST API."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import quote

import aiohttp
import orjson
import stamina

from infra.registry.request import CONTENT_TYPE
from schemas.canonical import canonical
from schemas.compatibility import Level
from schemas.errors import Incompatible, Invalid, NotFound, Problem, Unavailable

Schema: TypeAlias = str | Mapping[str, Any]
Json: TypeAlias = Any


class RegistryClient:
    """Registers and finds schemas. What a registry never changes (an id, its schema) is asked for once.

    Use as an asynchronous context manager, inside a running loop.

    Args:
        url: address of the registry, or several of its replicas with commas between; they are tried in turn.
        timeout_s: how long one request may take.
        retry_s: how long a request is tried again while no replica answers.
    """

    def __init__(self, url: str, *, timeout_s: float = 10, retry_s: float = 15) -> None:
        self._urls = [part.strip().rstrip("/") for part in url.split(",")]
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._retry_s = retry_s
        self._session: aiohttp.ClientSession | None = None
        self._ids: dict[tuple[str, str], int] = {}
        self._schemas: dict[int, str] = {}
        self._asking: dict[int, asyncio.Task[str]] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout, headers={"Accept": CONTENT_TYPE})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def register(self, subject: str, schema: Schema) -> int:
        """Id of a schema, which becomes a version of the subject unless it is one.

        Raises:
            Incompatible: the subject's level forbids it; the message names the fields.
            Invalid: it is no Avro schema.
            Unavailable: no replica answers.
        """
        text = _text(schema)
        known = (subject, canonical(text))
        if known not in self._ids:
            answer = await self._send("POST", f"subjects/{_quoted(subject)}/versions", {"schema": text})
            self._ids[known] = int(answer["id"])
        return self._ids[known]

    async def schema_by_id(self, schema_id: int) -> str:
        """The schema that has this id, as JSON. Those who ask at the same time share one request.

        Raises:
            NotFound: there is none.
            Unavailable: no replica answers.
        """
        if schema_id in self._schemas:
            return self._schemas[schema_id]
        if schema_id not in self._asking:
            task = asyncio.create_task(self._ask_schema(schema_id))
            self._asking[schema_id] = task
            task.add_done_callback(lambda _: self._asking.pop(schema_id, None))
        return await asyncio.shield(self._asking[schema_id])

    async def check(self, subject: str, schema: Schema) -> list[str]:
        """Why a schema may not become the next version of a subject; empty when it may.

        Raises:
            Invalid: it is no Avro schema.
            Unavailable: no replica answers.
        """
        path = f"compatibility/subjects/{_quoted(subject)}/versions?verbose=true"
        answer = await self._send("POST", path, {"schema": _text(schema)})
        if answer["is_compatible"]:
            return []
        return [str(message) for message in answer.get("messages", ())] or ["incompatible, no reason given"]

    async def latest(self, subject: str) -> tuple[int, int, str]:
        """Version, id and schema of the latest version of a subject.

        Raises:
            NotFound: the subject has none.
            Unavailable: no replica answers.
        """
        answer = await self._send("GET", f"subjects/{_quoted(subject)}/versions/latest")
        return int(answer["version"]), int(answer["id"]), str(answer["schema"])

    async def subjects(self) -> list[str]:
        """Every subject that has a version.

        Raises:
            Unavailable: no replica answers.
        """
        return [str(subject) for subject in await self._send("GET", "subjects")]

    async def set_level(self, level: Level, subject: str | None = None) -> None:
        """Set the level of a subject, or the global one.

        Raises:
            Unavailable: no replica answers.
        """
        path = "config" if subject is None else f"config/{_quoted(subject)}"
        await self._send("PUT", path, {"compatibility": level.value})

    async def _ask_schema(self, schema_id: int) -> str:
        answer = await self._send("GET", f"schemas/ids/{schema_id}")
        return self._schemas.setdefault(schema_id, str(answer["schema"]))

    async def _send(self, method: str, path: str, body: Json = None) -> Json:
        """Every request may be sent again: a registry gives the same schema the same id."""
        attempts = stamina.retry_context(
            on=Unavailable, attempts=None, timeout=self._retry_s, wait_initial=0.1, wait_max=2.0
        )
        async for attempt in attempts:
            with attempt:
                return await self._send_once(self._urls[(attempt.num - 1) % len(self._urls)], method, path, body)
        raise AssertionError("unreachable: the last attempt raises")

    async def _send_once(self, url: str, method: str, path: str, body: Json) -> Json:
        assert self._session is not None, "use the client as an asynchronous context manager"
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": CONTENT_TYPE} if data else None
        try:
            async with self._session.request(method, f"{url}/{path}", data=data, headers=headers) as response:
                return _answer(response.status, await response.read(), url)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                f"The schema registry at {url} does not answer ({error!r}). Is it started? `retrace status` tells."
            ) from error


def _answer(status: int, content: bytes, url: str) -> Json:
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Unavailable(f"{url} answers {status} without JSON; is it a schema registry?") from error
    if status < 400:
        return answer
    raise _problem(status, answer if isinstance(answer, dict) else {}, url)


def _problem(status: int, answer: Mapping[str, Any], url: str) -> Problem:
    detail = str(answer.get("message") or f"{url} answers {status}")
    if status == 404:
        return NotFound(detail, extra={"error_code": answer.get("error_code")})
    if status == 409:
        return Incompatible(detail, code="incompatible_schema")
    if status == 429 or status >= 500:
        return Unavailable(detail)
    return Invalid(detail, extra={"error_code": answer.get("error_code")})


def _text(schema: Schema) -> str:
    return schema if isinstance(schema, str) else orjson.dumps(schema).decode()


def _quoted(subject: str) -> str:
    return quote(subject, safe="")
