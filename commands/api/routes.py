"""One route for each contract that names one, its OpenAPI description included."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from fastapi import FastAPI, Request, Response

from commands.api.shape import Shape, field_shape, shape_of
from schemas.contracts import Contract
from schemas.errors import Invalid

Handle: TypeAlias = Callable[[Request, Contract, dict[str, Any]], Awaitable[Response]]

HEADERS = {
    "Idempotency-Key": "Chosen by the client; the same key with the same body is answered the same and counts once.",
    "If-Match": "The ETag of an earlier answer; 412 when the aggregate has changed since.",
    "Prefer": "`respond-async` answers 202 at once; `wait=2` waits 2 seconds at most.",
    "X-Actor": "On whose behalf.",
    "traceparent": "W3C trace context.",
}
PROBLEMS = {
    400: "The body is no JSON.",
    404: "What the command is about does not exist.",
    409: "The rules say no.",
    412: "The aggregate has changed since the version of If-Match.",
    413: "The body is over the limit.",
    415: "The body is not JSON.",
    422: "A field is wrong, or the Idempotency-Key was used for another body.",
    503: "Kafka is away; nothing was accepted silently.",
    504: "No decision yet; the status address tells when there is one.",
}
PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["type", "title", "status", "detail", "code"],
}


def add_route(app: FastAPI, contract: Contract, handle: Handle) -> None:
    """Add the route of one contract."""
    assert contract.http is not None
    method, path = contract.http
    in_path = [field["name"] for field in contract.fields if f"{{{field['name']}}}" in path]

    async def endpoint(request: Request) -> Response:
        return await handle(request, contract, {name: request.path_params[name] for name in in_path})

    app.add_api_route(
        path,
        endpoint,
        methods=[method],
        name=contract.name,
        operation_id=contract.name,
        summary=str(contract.schema["doc"]),
        tags=[contract.context],
        response_class=Response,
        status_code=201 if contract.is_fact else 200,
        openapi_extra=_described(contract, in_path),
        responses=problems(),
    )


def problems() -> dict[int | str, dict[str, Any]]:
    """The problem documents that an operation may answer."""
    content = {"application/problem+json": {"schema": PROBLEM}}
    return {status: {"description": text, "content": content} for status, text in PROBLEMS.items()}


def header_parameters() -> list[Shape]:
    """The headers that every command takes."""
    return [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in HEADERS.items()
    ]


def _described(contract: Contract, in_path: list[str]) -> Shape:
    fields = {field["name"]: field for field in contract.fields}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": field_shape(fields[name])} for name in in_path
    ]
    body = shape_of(contract, without=in_path)
    content = {"application/json": {"schema": body}}
    return {
        "parameters": [*parameters, *header_parameters()],
        **({"requestBody": {"required": bool(body.get("required")), "content": content}} if body["properties"] else {}),
    }


def merged(contract: Contract, given: Any, in_path: Mapping[str, str]) -> Any:
    """Body and path together; the path's text becomes a number where the field is one.

    Raises:
        Invalid: the body says otherwise than the path.
    """
    if type(given) is not dict:
        return given
    numbers = {field["name"] for field in contract.fields if field["type"] in ("int", "long")}
    values = {n: int(v) if n in numbers and v.isdecimal() and len(v) < 19 else v for n, v in in_path.items()}
    for name, value in values.items():
        if name in given and given[name] != value:
            raise Invalid(
                f"the path says '{value}' and the body something else: leave {name} out of the body",
                errors=[{"pointer": f"/{name}", "detail": "differs from the path"}],
            )
    return given | values
