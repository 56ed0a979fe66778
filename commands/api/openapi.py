"""The OpenAPI document of the command API, made from the contracts: every operation, every answer, with examples."""

from collections.abc import Mapping, Sequence
from typing import Any

from commands.api.bulk.naming import OFFSET, UPLOAD_ID
from commands.api.components import (
    ALWAYS,
    ANSWER_HEADERS,
    COMMAND_ID,
    HEADERS,
    OUTCOME_EXAMPLE,
    PENDING_EXAMPLE,
    PROBLEMS,
    PROGRESS_EXAMPLE,
    RECORDED_EXAMPLE,
    SCHEMAS,
    TEXT,
    UPLOAD_EXAMPLE,
    UUID,
)
from commands.api.personal import PERSON
from commands.api.shape import Shape, field_shape, shape_of
from infra.http import PROBLEM_BASE, PROBLEM_JSON
from schemas.contracts import Contract, contracts

KEPT = ("tags", "summary", "operationId", "parameters", "security", "x-roles")

COMMANDS = [contract for contract in contracts().values() if contract.kind == "command" and not contract.is_sealed]


def operation(contract: Contract) -> Shape:
    """The operation of a contract that has a route."""
    assert contract.http is not None
    in_path = path_fields(contract)
    body = shape_of(contract, without=in_path)
    example = {name: value for name, value in contract.example.items() if name not in in_path}
    content = {"application/json": {"schema": body, "example": example}}
    return {
        "operationId": contract.name,
        "summary": str(contract.schema["doc"]),
        "tags": [contract.context],
        "parameters": [*_path_parameters(contract, in_path), *header_parameters(contract)],
        **({"requestBody": {"required": bool(body.get("required")), "content": content}} if body["properties"] else {}),
        "responses": _answers(contract),
    }


def any_command() -> Shape:
    """The operation that takes every command by its type."""
    kinds = [
        {
            "type": "object",
            "title": contract.name,
            "properties": {"type": {"const": contract.name}, "data": shape_of(contract)},
            "required": ["type", "data"],
            "additionalProperties": False,
        }
        for contract in COMMANDS
    ]
    examples = {c.name: {"value": {"type": c.name, "data": c.example}} for c in COMMANDS}
    return {
        "parameters": header_parameters(),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"oneOf": kinds}, "examples": examples}},
        },
        "responses": _decided(),
    }


def bulk() -> Shape:
    """The operation that takes many facts."""
    lines = "\n".join(["user_id,item_id,kind,value,occurred_at", "ana,50,rate,5,2026-03-01T12:00:00Z"])
    ndjson = '{"user_id": "ana", "item_id": "50", "kind": "view", "occurred_at": "2026-03-01T12:00:00Z"}'
    content = {
        "application/x-ndjson": {"schema": TEXT, "example": ndjson},
        "text/csv": {"schema": TEXT, "example": lines},
        "application/avro": {"schema": {"type": "string", "format": "binary"}},
    }
    resumable = [
        _header("Upload-Id", "Names the upload, so that it can be resumed; else the Idempotency-Key does.", UPLOAD_ID),
        _header("Upload-Offset", "Byte of the content that the body begins with; absent: its beginning.", OFFSET),
        _header("Upload-Complete", "`?0`: the content goes on in a later request.", r"^[?][01]$"),
    ]
    return {
        "parameters": [*({"name": name, "in": "header", **HEADERS[name]} for name in ALWAYS), *resumable],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": answer("Good lines are on record.", ref("Upload"), UPLOAD_EXAMPLE, ["X-Position"]),
            **problems(400, 408, 409, 413, 415, 422, 503),
        },
    }


def bulk_progress() -> Shape:
    """The operation that tells how far an upload is."""
    upload_id = {"name": "upload_id", "in": "path", "required": True, "example": "ratings-2026-03"}
    return {
        "parameters": [{**upload_id, "schema": {"type": "string", "pattern": UPLOAD_ID}}],
        "responses": {
            "200": answer("What is confirmed.", ref("UploadProgress"), PROGRESS_EXAMPLE),
            **problems(400, 404, 503),
        },
    }


def _header(name: str, text: str, pattern: str) -> Shape:
    return {"name": name, "in": "header", "description": text, "schema": {"type": "string", "pattern": pattern}}


def status() -> Shape:
    """The operation that tells what became of a command."""
    known = {"anyOf": [ref("Outcome"), ref("Pending")]}
    command_id = {"name": "command_id", "in": "path", "required": True, "schema": UUID, "example": COMMAND_ID}
    wait = {"name": "Prefer", "in": "header", "description": "`wait=5` waits 5 seconds at most for the decision."}
    return {
        "parameters": [command_id, {**wait, "schema": TEXT, "example": "wait=5"}],
        "responses": {"200": answer("What is known of it.", known, OUTCOME_EXAMPLE), **problems(400, 404, 422, 503)},
    }


def operations() -> Mapping[tuple[str, str], Shape]:
    """Every operation that follows from contracts, by path and method."""
    routed = {contract.http: operation(contract) for contract in contracts().values() if contract.http is not None}
    return {
        **{(path, method.lower()): described for (method, path), described in routed.items()},
        ("/interactions/bulk", "post"): bulk(),
        ("/interactions/bulk/{upload_id}", "get"): bulk_progress(),
        ("/commands", "post"): any_command(),
        ("/commands/{command_id}", "get"): status(),
    }


def complete(document: Shape) -> Shape:
    """What the web framework knows of its routes, with what only the contracts know."""
    for (path, method), described in operations().items():
        generated = document["paths"][path][method]
        document["paths"][path][method] = {name: generated[name] for name in KEPT if name in generated} | described
    document.setdefault("components", {}).setdefault("schemas", {}).update(SCHEMAS)
    return document


def path_fields(contract: Contract) -> list[str]:
    """Fields of a contract that come in the path of its route, in the order of the contract."""
    path = contract.http[1] if contract.http else ""
    return [field["name"] for field in contract.fields if f"{{{field['name']}}}" in path]


def header_parameters(contract: Contract | None = None) -> list[Shape]:
    """The headers that a command takes, and the one that it insists on."""
    insists = contract is not None and contract.needs_precondition
    return [
        {"name": name, "in": "header", "required": insists and name == "If-Match", **HEADERS[name]}
        for name in (*ALWAYS, *_sometimes(contract))
    ]


def _sometimes(contract: Contract | None) -> Sequence[str]:
    """Headers that only make sense on some operations: what makes something new has no version to insist on."""
    if contract is not None and contract.is_fact:
        return ()
    makes = (
        contract is not None and contract.http is not None and contract.http[0] == "POST" and not path_fields(contract)
    )
    return ("Prefer", "If-None-Match" if makes else "If-Match")


def problems(*statuses: int) -> Shape:
    """The problem documents that an operation may answer, all of them when none is named."""
    return {str(status): _problem(status) for status in ((401, 403, *statuses) if statuses else PROBLEMS)}


def answer(text: str, schema: Shape, example: Any, headers: Sequence[str] = ()) -> Shape:
    """One kind of answer."""
    return {
        "description": text,
        "content": {"application/json": {"schema": schema, "example": example}},
        **({"headers": {name: ANSWER_HEADERS[name] for name in headers}} if headers else {}),
    }


def ref(name: str) -> Shape:
    """A reference to one of `components`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _answers(contract: Contract) -> Shape:
    if contract.is_fact:
        recorded = answer("It is on record.", ref("Recorded"), RECORDED_EXAMPLE, ["X-Position"])
        return {"201": recorded, **problems(400, *_gone(contract), 413, 415, 422, 503)}
    without = [*(() if contract.needs_precondition else (428,)), *(() if _gone(contract) else (410,))]
    return _decided(*without)


def _gone(contract: Contract) -> Sequence[int]:
    """The status of what is about an erased person, where that can be: by its key, or in a command that it carries."""
    return (410,) if contract.key == PERSON or contract.carries else ()


def _decided(*without: int) -> Shape:
    headers = ["ETag", "X-Position", "Idempotent-Replayed"]
    return {
        "200": answer("It is decided and on record.", ref("Outcome"), OUTCOME_EXAMPLE, headers),
        "202": answer("It is on record.", ref("Pending"), PENDING_EXAMPLE, ["Location", "Preference-Applied"]),
        **problems(*(status for status in PROBLEMS if status not in (408, *without))),
    }


def _problem(status: int) -> Shape:
    text, code, detail = PROBLEMS[status]
    example = {
        "type": PROBLEM_BASE + code.replace("_", "-"),
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
    }
    retry = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}, "example": 1}}
    return {
        "description": text,
        "content": {PROBLEM_JSON: {"schema": ref("Problem"), "example": example}},
        **({"headers": retry} if status == 503 else {}),
    }


def _path_parameters(contract: Contract, names: Sequence[str]) -> list[Shape]:
    fields = {field["name"]: field for field in contract.fields}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": field_shape(fields[name]),
            "example": contract.example.get(name),
        }
        for name in names
    ]
