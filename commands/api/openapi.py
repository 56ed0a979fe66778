"""The OpenAPI document of the command API, made from the contracts: every operation, every answer, with examples."""

from collections.abc import Mapping, Sequence
from typing import Any

from commands.api.bulk.naming import OFFSET, UPLOAD_ID
from commands.api.headers import KEY
from commands.api.personal import PERSON
from commands.api.shape import Shape, field_shape, shape_of
from infra.http import PROBLEM_BASE, PROBLEM_JSON
from schemas.contracts import Contract, contracts

COMMAND_ID = "01a1fc5f-5f15-7794-a525-9816738f4960"
POSITION = {"type": "string", "pattern": r"^[a-z-]+/\d+/\d+$", "description": "topic/partition/offset"}
NUMBER = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}
UUID = {"type": "string", "format": "uuid"}

HEADERS: Mapping[str, Shape] = {
    "Idempotency-Key": {
        "description": "A UUID in quotes, for example. Sent again with the same body: the same answer, and no effect.",
        "schema": {"type": "string", "pattern": KEY},
    },
    "If-Match": {
        "description": "The ETag of an earlier answer, or `*`: there must be something. 412 when it is otherwise.",
        "schema": {"type": "string", "pattern": '^((W/)?"[0-9]{1,18}"|[0-9]{1,18}|[*])$'},
        "example": '"3"',
    },
    "If-None-Match": {
        "description": "`*`: there may be nothing yet, 412 otherwise.",
        "schema": {"type": "string", "enum": ["*"]},
        "example": "*",
    },
    "Prefer": {
        "description": "`respond-async` answers 202 at once; `wait=2` waits 2 seconds at most (RFC 7240).",
        "schema": TEXT,
        "example": "wait=2",
    },
    "X-Actor": {
        "description": "On whose behalf; only an admin may say so. Else the key's name or the token's subject.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
        "example": "ana",
    },
    "X-Correlation-ID": {
        "description": "Stands in every event that follows; made anew when absent.",
        "schema": TEXT,
        "example": "checkout-81",
    },
    "traceparent": {
        "description": "W3C trace context; goes through the log to everything that follows.",
        "schema": TEXT,
        "example": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    },
}
ALWAYS = ("Idempotency-Key", "X-Actor", "X-Correlation-ID", "traceparent")

PROBLEMS: Mapping[int, tuple[str, str, str]] = {
    400: ("The body is no JSON, or a header cannot be read.", "malformed_json", "the body is no JSON: unexpected end"),
    401: ("No key was sent, or it does not open.", "key_missing", "no key was sent: send Authorization: Bearer KEY"),
    403: ("The key has no role that this takes.", "role_missing", "this takes the role engineer, and shop has product"),
    404: ("What the command is about does not exist.", "unknown_user", "there is no user 'ana': register it first"),
    408: ("Nothing came for a minute.", "upload_stalled", "nothing came for 60 s: ask how far the upload is"),
    409: (
        "The rules say no, or the same Idempotency-Key is being worked on.",
        "already_registered",
        "user 'ana' is registered already",
    ),
    410: ("It is about somebody who has been erased.", "erased_user", "user 'ana' has been erased for good"),
    412: (
        "The aggregate is not as If-Match or If-None-Match has it.",
        "version_conflict",
        "the user is at version 4, not 3: read it again and decide anew",
    ),
    413: ("The body is over the limit.", "body_too_large", "the body is over 1048576 bytes: send less at once"),
    415: ("The body is of another kind.", "unsupported_media_type", "this takes JSON, not text/plain"),
    422: (
        "A field is wrong, or the Idempotency-Key was used for another body.",
        "invalid",
        "RegisterUser: must be a string, not a number",
    ),
    428: (
        "This operation is only done on a condition.",
        "precondition_required",
        "send If-Match with the ETag that you have read, or * for whatever there is",
    ),
    503: (
        "Kafka is away or slow. Nothing was accepted, unless `command_id` is named: then ask its status.",
        "unavailable",
        "no command can be taken now: try again in a moment",
    ),
    504: ("No decision yet; `status_url` tells when there is one.", "timed_out", "the command is not decided yet"),
}

SCHEMAS: Mapping[str, Shape] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457. Programs read `code`, people `detail`, forms `errors`.",
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": TEXT,
            "instance": TEXT,
            "code": {"type": "string", "pattern": "^[a-z_]+$"},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"pointer": {"type": "string", "description": "RFC 6901"}, "detail": TEXT},
                    "required": ["pointer", "detail"],
                },
            },
            "command_id": UUID,
            "status_url": TEXT,
        },
        "required": ["type", "title", "status", "detail", "code"],
    },
    "Outcome": {
        "type": "object",
        "description": "What a command led to; no events when it was right and changed nothing.",
        "properties": {
            "command_id": UUID,
            "aggregate_id": TEXT,
            "outcome": {"enum": ["accepted", "rejected"]},
            "status": {"type": "integer", "minimum": 200, "maximum": 599},
            "version": NUMBER,
            "events": {"type": "array", "items": TEXT},
            "position": POSITION,
            "positions": {"type": "array", "items": POSITION},
            "code": {"type": ["string", "null"]},
            "detail": {"type": ["string", "null"]},
            "answered_at": {"type": "string", "format": "date-time"},
        },
        "required": ["command_id", "aggregate_id", "outcome", "status", "version", "position"],
    },
    "Pending": {
        "type": "object",
        "description": "Taken, and not decided yet.",
        "properties": {"command_id": UUID, "outcome": {"const": "pending"}, "status_url": TEXT},
        "required": ["command_id", "outcome"],
    },
    "Upload": {
        "type": "object",
        "description": "What became of the lines; the first 100 problems are named, all are counted.",
        "properties": {
            "accepted": NUMBER,
            "refused": NUMBER,
            "problems": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"line": NUMBER, "code": TEXT, "pointer": TEXT, "detail": TEXT},
                    "required": ["line", "code", "detail"],
                },
            },
            "positions": {"type": "array", "items": POSITION},
        },
        "required": ["accepted", "refused", "problems", "positions"],
    },
    "UploadProgress": {
        "type": "object",
        "description": "How far an upload is durable; a client goes on at `confirmed_bytes`, or sends all of it again.",
        "properties": {
            "upload_id": TEXT,
            "state": {"enum": ["running", "interrupted", "complete"]},
            "confirmed_bytes": NUMBER,
            "confirmed_lines": NUMBER,
            "accepted": NUMBER,
            "refused": NUMBER,
            "problems": {"type": "array", "items": {"type": "object"}},
            "positions": {"type": "array", "items": POSITION},
            "updated_at": {"type": ["string", "null"], "format": "date-time"},
        },
        "required": ["upload_id", "state", "confirmed_bytes", "confirmed_lines", "accepted", "refused"],
    },
    "Recorded": {
        "type": "object",
        "description": "Where a fact stands.",
        "properties": {"event_id": UUID, "event": TEXT, "position": POSITION},
        "required": ["event_id", "event", "position"],
    },
}

OUTCOME_EXAMPLE = {
    "command_id": COMMAND_ID,
    "aggregate_id": "ana",
    "outcome": "accepted",
    "status": 200,
    "version": 1,
    "events": ["UserRegistered"],
    "position": "profiles/0/0",
    "positions": ["profiles/0/0"],
}
PENDING_EXAMPLE = {"command_id": COMMAND_ID, "outcome": "pending", "status_url": f"/commands/{COMMAND_ID}"}
RECORDED_EXAMPLE = {"event_id": COMMAND_ID, "event": "InteractionRecorded", "position": "interactions/2/50211"}
UPLOAD_EXAMPLE = {
    "accepted": 1,
    "refused": 1,
    "problems": [{"line": 2, "code": "unknown_item", "pointer": "/item_id", "detail": "is not in the catalogue"}],
    "positions": ["interactions/0/50211"],
}

PROGRESS_EXAMPLE = {
    "upload_id": "ratings-2026-03",
    "state": "interrupted",
    "confirmed_bytes": 2611200,
    "confirmed_lines": 20000,
    "accepted": 19999,
    "refused": 1,
    "problems": [{"line": 2, "code": "unknown_item", "pointer": "/item_id", "detail": "is not in the catalogue"}],
    "positions": ["interactions/0/20010"],
    "updated_at": "2026-03-01T12:00:00Z",
}

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


ANSWER_HEADERS: Mapping[str, Shape] = {
    "ETag": {"description": "Version of the aggregate, for If-Match.", "schema": TEXT, "example": '"1"'},
    "X-Position": {"description": "For `min-position` of a query.", "schema": TEXT, "example": "profiles/0/0"},
    "Location": {"description": "Where to ask.", "schema": TEXT, "example": f"/commands/{COMMAND_ID}"},
    "Preference-Applied": {"description": "RFC 7240.", "schema": TEXT, "example": "respond-async"},
    "Idempotent-Replayed": {"description": "Present when this is the first answer again.", "schema": TEXT},
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
