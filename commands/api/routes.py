"""One route for each contract that names one."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from fastapi import FastAPI, Request, Response

from commands.api.openapi import path_fields
from infra.access.openapi import open_to
from schemas.contracts import Contract
from schemas.errors import Invalid, Unconditional

Handle: TypeAlias = Callable[[Request, Contract, dict[str, Any]], Awaitable[Response]]


def add_route(app: FastAPI, contract: Contract, handle: Handle) -> None:
    """Add the route of one contract."""
    assert contract.http is not None
    method, path = contract.http
    in_path = path_fields(contract)

    async def endpoint(request: Request) -> Response:
        if contract.needs_precondition and "if-match" not in request.headers:
            raise Unconditional(
                f"{contract.name} is only done on a condition: send If-Match with the ETag that you have read, "
                "or * for whatever there is"
            )
        return await handle(request, contract, {name: request.path_params[name] for name in in_path})

    app.add_api_route(
        path,
        endpoint,
        methods=[method],
        name=contract.name,
        response_class=Response,
        openapi_extra=open_to(*contract.roles),
    )


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
