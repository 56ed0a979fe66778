"""What the operations of the command API share in its OpenAPI document: headers, problems, bodies, examples."""

from collections.abc import Mapping

from commands.api.headers import KEY
from commands.api.shape import Shape

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

ANSWER_HEADERS: Mapping[str, Shape] = {
    "ETag": {"description": "Version of the aggregate, for If-Match.", "schema": TEXT, "example": '"1"'},
    "X-Position": {"description": "For `min-position` of a query.", "schema": TEXT, "example": "profiles/0/0"},
    "Location": {"description": "Where to ask.", "schema": TEXT, "example": f"/commands/{COMMAND_ID}"},
    "Preference-Applied": {"description": "RFC 7240.", "schema": TEXT, "example": "respond-async"},
    "Idempotent-Replayed": {"description": "Present when this is the first answer again.", "schema": TEXT},
}
