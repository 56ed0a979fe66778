"""The role `commands`: commands and facts over HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson
from fastapi import FastAPI, Request, Response

from commands.api.carried import contract_named
from commands.api.engine import Engine
from commands.api.headers import preferences
from commands.api.keys import add_key_routes
from commands.api.openapi import complete
from commands.api.request import intent_of, json_body
from commands.api.routes import add_route, merged
from infra.access.gate import Gate
from infra.access.openapi import open_to, open_to_known
from infra.access.route import guarded, identity_of
from infra.ending import ended
from infra.health import Health
from infra.settings import Settings
from schemas.contracts import Contract, contracts
from schemas.errors import Invalid
from schemas.interactions import InteractionRecorded

ROUTED = [contract for contract in contracts().values() if contract.http is not None]


class CommandApi(FastAPI):
    """Describes itself by the contracts."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi())
        return self.openapi_schema


def create_app(settings: Settings, health: Health) -> FastAPI:
    """The application; it opens its connections when it starts and says in `health` how they are."""
    engine = Engine(settings, health)
    gate = Gate(settings, health, any_tenant=True)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(engine.run())
        async with gate.kept():
            yield
        await ended(task)

    async def handle(request: Request, contract: Contract, in_path: dict[str, Any]) -> Response:
        given = merged(contract, await json_body(request, settings.max_body_bytes), in_path)
        intent = intent_of(request, settings)
        answers = engine.parts.facts if contract.is_fact else engine.parts.answering
        return await answers.answer(request, contract, given, intent)

    app = guarded(CommandApi(title="Retrace commands", version="1", lifespan=lifespan), gate)
    _add_bulk(app, settings, engine)
    for contract in ROUTED:
        add_route(app, contract, handle)
    _add_any_command(app, settings, engine)
    _add_status(app, settings, engine)
    add_key_routes(app, settings, engine)
    return app


def _add_bulk(app: FastAPI, settings: Settings, engine: Engine) -> None:
    @app.post(
        "/interactions/bulk",
        tags=["interactions"],
        summary="Many interactions, one a line; bad lines do not hold up the others",
        openapi_extra=open_to(*contracts()[InteractionRecorded.AVRO].roles),
    )
    async def bulk(request: Request) -> Response:
        return await engine.parts.bulk.answer(request, intent_of(request, settings))

    @app.get(
        "/interactions/bulk/{upload_id:path}",
        tags=["interactions"],
        summary="How far a named upload is durable, and so where it goes on",
        openapi_extra=open_to(*contracts()[InteractionRecorded.AVRO].roles),
    )
    async def bulk_progress(request: Request) -> Response:
        return await engine.parts.bulk.progress(identity_of(request).tenant, request.path_params["upload_id"])


def _add_any_command(app: FastAPI, settings: Settings, engine: Engine) -> None:
    @app.post(
        "/commands",
        tags=["commands"],
        summary="Any command by its type, also those of workers that have no route of their own",
        openapi_extra=open_to_known(),
    )
    async def command(request: Request) -> Response:
        contract, data = typed(await json_body(request, settings.max_body_bytes))
        identity_of(request).need(contract.roles)
        return await engine.parts.answering.answer(request, contract, data, intent_of(request, settings))


def _add_status(app: FastAPI, settings: Settings, engine: Engine) -> None:
    @app.get(
        "/commands/{command_id}",
        tags=["commands"],
        summary="What became of a command: accepted, rejected or pending",
        openapi_extra=open_to_known(),
    )
    async def status(command_id: UUID, request: Request) -> Response:
        wait_s = min(preferences(request.headers.getlist("prefer")).wait_s or 0, settings.answer_timeout_s)
        found = await engine.parts.status.of(command_id, identity_of(request).tenant, wait_s)
        return Response(orjson.dumps(found), media_type="application/json")


def typed(body: Any) -> tuple[Contract, Any]:
    """Contract and data of `{"type": ..., "data": {...}}`.

    Raises:
        Invalid: the body has another form, or there is no such command.
    """
    if type(body) is not dict or not isinstance(body.get("type"), str) or set(body) - {"type", "data"}:
        raise Invalid('send {"type": "StartTraining", "data": {...}}', code="bad_command")
    return contract_named(body["type"]), body.get("data", {})
