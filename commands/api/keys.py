"""API keys: the secret is made here, at the edge, and shown once; what goes into the log is its hash."""

from typing import Any

import orjson
from fastapi import FastAPI, Request, Response

from commands.api.engine import Engine
from commands.api.openapi import answer, header_parameters, problems
from commands.api.request import intent_of, json_body
from commands.api.shape import Shape, field_shape, shape_of
from infra.access.key import ApiKey, new_key
from infra.access.openapi import open_to
from infra.settings import Settings
from schemas.access import CreateApiKey, RotateApiKey
from schemas.contracts import Contract, contracts
from schemas.errors import Invalid, Rejected
from schemas.roles import ROLES

OURS = ("key_id", "secret_sha256")
"""Fields that nobody sends."""

SHOWN = {
    "type": "object",
    "description": "The key, shown this once.",
    "properties": {
        "key_id": {"type": "string"},
        "key": {
            "type": "string",
            "description": "Send it as `Authorization: Bearer KEY`; nobody can show it again.",
        },
        "command_id": {"type": "string", "format": "uuid"},
    },
    "required": ["key_id", "key", "command_id"],
}


def add_key_routes(app: FastAPI, settings: Settings, engine: Engine) -> None:
    """The routes that make secrets; a key is revoked by an ordinary command."""
    create, rotate = contracts()[CreateApiKey.AVRO], contracts()[RotateApiKey.AVRO]

    async def made(request: Request, contract: Contract, key: ApiKey, status: int) -> Response:
        given = await json_body(request, settings.max_body_bytes)
        try:
            response = await engine.parts.answering.answer(
                request, contract, with_hash(given, key), intent_of(request, settings)
            )
        except Invalid as fault:
            raise _shown_already(fault) from None
        return shown(response, key, status)

    @app.post(
        "/api-keys",
        tags=["access"],
        summary="A new API key; it is shown once",
        status_code=201,
        response_class=Response,
        openapi_extra=_described(create, 201),
    )
    async def created(request: Request) -> Response:
        return await made(request, create, new_key(), 201)

    @app.post(
        "/api-keys/{key_id}/rotate",
        tags=["access"],
        summary="Another secret for a key; it is shown once, and the one before stays valid for a while",
        response_class=Response,
        openapi_extra=_described(rotate, 200),
    )
    async def rotated(request: Request) -> Response:
        return await made(request, rotate, new_key(request.path_params["key_id"]), 200)


def with_hash(given: Any, key: ApiKey) -> Any:
    """What was sent, with what only we know.

    Raises:
        Invalid: the caller chose an id or a hash.
    """
    if type(given) is not dict:
        return given
    if chosen := [name for name in OURS if name in given]:
        errors = [{"pointer": f"/{name}", "detail": "is made by us: leave it out"} for name in chosen]
        raise Invalid("ids and secrets of keys are not chosen by who asks for them", errors=errors)
    return {**given, "key_id": key.id, "secret_sha256": key.sha256}


def shown(response: Response, key: ApiKey, status: int) -> Response:
    """The answer to the command, with the key; a refusal as it is.

    Args:
        status: when it was accepted; 202 stays.
    """
    if response.status_code >= 400:
        return response
    document = {"key_id": key.id, "key": key.text, **orjson.loads(bytes(response.body))}
    kept = {name: value for name, value in response.headers.items() if name not in ("content-length", "content-type")}
    headers = {**kept, "cache-control": "no-store"}
    status = 202 if response.status_code == 202 else status
    return Response(orjson.dumps(document), status, headers, "application/json")


def _shown_already(fault: Invalid) -> Exception:
    """A key cannot be shown again, so an Idempotency-Key that comes again cannot be answered as it was."""
    if fault.code != "idempotency_key_reused":
        return fault
    return Rejected(
        "this Idempotency-Key has made a key already, and a key is shown once: rotate that key, or send another "
        "Idempotency-Key",
        code="key_shown_already",
    )


def _described(contract: Contract, status: int) -> Shape:
    fields = {field["name"]: field for field in contract.fields}
    in_path = ["key_id"] if status == 200 else []
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": field_shape(fields[name])} for name in in_path
    ]
    body = shape_of(contract, without=OURS)
    if "roles" in body["properties"]:
        body["properties"]["roles"] |= {"items": {"enum": list(ROLES)}, "minItems": 1}
    example = {name: value for name, value in contract.example.items() if name not in OURS}
    return {
        **open_to(*contract.roles),
        "operationId": contract.name,
        "parameters": [
            *parameters,
            *(one for one in header_parameters(contract) if in_path or one["name"] != "If-Match"),
        ],
        "requestBody": {
            "required": bool(body.get("required")),
            "content": {"application/json": {"schema": body, "example": example}},
        },
        "responses": {
            str(status): answer("It is on record. The key is shown this once.", SHOWN, None, ["ETag", "X-Position"]),
            "202": answer("It will be on record. The key is shown this once.", SHOWN, None, ["Location"]),
            **problems(),
        },
    }
