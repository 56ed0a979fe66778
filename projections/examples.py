"""One example of each answer of the query API, for its OpenAPI document; tests hold them to the models."""

from collections.abc import Mapping
from typing import Any, get_args

from projections import examples_deployments, examples_lineage, examples_runs
from projections.examples_runs import RUN

NOON = "2026-01-31T12:00:00+00:00"
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
UUID = "01a1fc5f-5f15-7794-a525-9816738f4960"

ITEM = {
    "item_id": "50",
    "title": "Star Wars",
    "description": None,
    "categories": ["action", "scifi"],
    "attributes": {"year": "1977"},
    "retired": False,
    "version": 1,
}
VERSION = {
    "model": "movies",
    "version": 3,
    "run_id": "run-3",
    "algorithm": "ease",
    "artifact_sha256": SHA,
    "dataset_sha256": SHA,
    "metrics": {"recall@10": 0.31},
    "retired": False,
    "registered_at": NOON,
}
LETTER: dict[str, Any] = {
    "letter_id": UUID,
    "view": "user_history",
    "version": 1,
    "position": "interactions/2/50211",
    "key": "42",
    "type": "retrace.interactions.InteractionRecorded",
    "state": "parked",
    "code": "does_not_fit_view",
    "cause": "user_history cannot take the event: value too long for type character varying(40)",
    "attempts": 1,
    "waiting": 1,
    "reason": None,
    "first_at": NOON,
    "last_at": NOON,
}
LIVE = {"model": "movies", "version": 3, "artifact_sha256": SHA, "deployment_id": "d-3", "since": NOON}
DECISION = {
    "decision_id": UUID,
    "user_id": "42",
    "model": "movies",
    "version": 3,
    "artifact_sha256": SHA,
    "deployment_id": "d-3",
    "source": "model",
    "fallback_reason": None,
    "arm": "live",
    "items": [{"item_id": "50", "score": 1.25}],
    "positions": [{"topic": "interactions", "partition": 2, "offset": 118}],
    "history_length": 12,
    "history_sha256": SHA,
    "candidates": 100,
    "filtered": [],
    "based_on": None,
    "limit": 10,
    "latency_ms": 3.1,
    "server": "serving-1",
    "sequence": 7,
    "served_at": NOON,
    "partition": 2,
    "offset": 6,
}

EXAMPLES: Mapping[str, Any] = {
    "Profile": {
        "user_id": "42",
        "name": "Ana",
        "attributes": {"country": "PT"},
        "favourite_categories": ["scifi"],
        "hidden_categories": [],
        "language": "pt",
        "personalisation": True,
        "training": False,
        "registered_at": NOON,
        "version": 2,
    },
    "KeyOnRecord": {
        "key_id": "3f1c2a9be07d",
        "name": "shop",
        "roles": ["product"],
        "created_at": NOON,
        "created_by": "admin",
        "expires_at": None,
        "rotated_at": None,
        "previous_until": None,
        "revoked_at": None,
        "revoked_by": None,
        "reason": None,
        "last_used_at": NOON,
    },
    "ScheduleOnRecord": {
        "schedule_id": "s-1",
        "status": "pending",
        "due_at": NOON,
        "revision": 1,
        "command_type": "retrace.catalog.RetireItem",
        "data": {"item_id": "50"},
        "scheduled_by": "ana",
        "scheduled_at": NOON,
        "command_id": None,
        "reason": None,
        "updated_at": NOON,
    },
    "History": {
        "user_id": "42",
        "interactions": [
            {
                "item_id": "50",
                "kind": "rate",
                "value": 5,
                "occurred_at": NOON,
                "decision_id": None,
                "event_id": UUID,
                "position": "interactions/2/118",
            }
        ],
        "next": None,
    },
    "Item": ITEM,
    "Items": {"items": [ITEM], "next": None},
    "PopularItem": {
        "item_id": "50",
        "title": "Star Wars",
        "categories": ["scifi"],
        "interactions": 583,
        "last_at": NOON,
    },
    "TrendingItem": {
        "item_id": "50",
        "title": "Star Wars",
        "window_start": NOON,
        "window_end": "2026-01-31T12:05:00+00:00",
        "interactions": 21,
        "score": 2.5,
    },
    "ModelSummary": {"model": "movies", "versions": 3, "latest": 3, "live": 3},
    "Model": {"model": "movies", "versions": [VERSION], "live": LIVE, "next": None},
    "VersionDetail": {**VERSION, "training_run": RUN},
    **examples_runs.EXAMPLES,
    **examples_lineage.EXAMPLES,
    **examples_deployments.EXAMPLES,
    "Decision": DECISION,
    "CommandAnswer": {
        "command_id": UUID,
        "outcome": "accepted",
        "status": 200,
        "code": None,
        "detail": None,
        "type": "retrace.profiles.UserRegistered",
        "aggregate_id": "42",
        "version": 1,
        "actor": "shop",
        "tenant": "default",
        "topic": "profiles",
        "partition": 3,
        "offset": 118,
        "command_offset": 57,
        "answered_at": NOON,
        "repeats": 0,
    },
    "DeadLetters": {"dead_letters": [LETTER], "next": None},
    "DeadLetterShown": {
        **LETTER,
        "history": [{"event": "RecordDeadLettered", "at": NOON, "actor": "anonymous", "code": "does_not_fit_view"}],
        "behind": ["interactions/2/50230"],
        "record": {
            "headers": {"ce_type": "retrace.interactions.InteractionRecorded", "ce_subject": "42"},
            "size_bytes": 38,
            "schema_id": 7,
            "event": "retrace.interactions.InteractionRecorded",
            "fields": {"user_id": "42", "item_id": "50", "kind": "view"},
            "unreadable": None,
        },
    },
    "Cause": {
        **{name: LETTER[name] for name in ("view", "code", "cause", "state", "first_at", "last_at")},
        "records": 3,
        "keys": 2,
        "example": UUID,
    },
    "Selected": {
        "view": "user_history",
        "version": 1,
        "selection": "key 42",
        "poison": 1,
        "waiting": 1,
        "causes": [{"code": "does_not_fit_view", "cause": LETTER["cause"], "poison": 1, "waiting": 1}],
        "keys": [{"key": "42", "poison": 1, "waiting": 1, "code": "does_not_fit_view", "cause": LETTER["cause"]}],
    },
    "RequestOnRecord": {
        "request_id": UUID,
        "kind": "retry",
        "view": "user_history",
        "actor": "ana",
        "reason": None,
        "requested_at": NOON,
        "settled_at": NOON,
        "version": 1,
        "selection": "key 42",
        "recovered": 1,
        "failed": 0,
        "skipped": 0,
        "released": 1,
        "problem": "",
    },
    "FoundItems": {
        "items": [
            {
                "item_id": "50",
                "title": "Star Wars",
                "description": None,
                "categories": ["action", "scifi"],
                "attributes": {"year": "1977"},
                "rank": 1,
                "score": 0.032,
            }
        ],
        "next": None,
        "ranking": "hybrid",
        "ranking_reason": None,
        "total": 1,
        "categories": [{"category": "scifi", "items": 1}],
        "facets": {"year": [{"value": "1977", "items": 1}]},
    },
    "Suggestions": {"items": [{"item_id": "50", "title": "Star Wars"}]},
    "FoundEvents": {
        "events": [
            {
                "id": UUID,
                "type": "retrace.catalog.ItemRetired",
                "topic": "catalog",
                "partition": 1,
                "offset": 12,
                "key": "50",
                "user_id": None,
                "item_id": "50",
                "model": None,
                "actor": "shop",
                "time": NOON,
                "correlation_id": "checkout-81",
                "causation_id": UUID,
            }
        ],
        "next": None,
        "total": 1,
    },
    "FoundInteractions": {
        "interactions": [
            {
                "id": UUID,
                "user_id": "u1",
                "item_id": "50",
                "kind": "rate",
                "value": 4.0,
                "decision_id": None,
                "occurred_at": NOON,
                "position": "interactions/3/1207",
            }
        ],
        "next": None,
    },
    "FoundDecisions": {
        "decisions": [
            {
                "decision_id": UUID,
                "user_id": "42",
                "model": "movies",
                "version": 3,
                "artifact_sha256": SHA,
                "deployment_id": "d-3",
                "source": "model",
                "fallback_reason": None,
                "arm": "live",
                "items": ["50", "172"],
                "latency_ms": 3.1,
                "server": "serving-1",
                "served_at": NOON,
                "position": "decisions/2/6",
            }
        ],
        "next": None,
        "total": 1,
    },
    "RebuildStatus": {
        "id": 7,
        "view": "popularity",
        "version": 2,
        "purpose": "rebuild",
        "state": "running",
        "target": "popularity_v2",
        "rate": None,
        "requested_by": "ana",
        "total": 1000000,
        "folded": 250000,
        "events_per_s": 81000.0,
        "eta_s": 9.3,
        "comparison": None,
        "cause": "",
        "started_at": NOON,
        "updated_at": NOON,
    },
    "ProjectionStatus": {
        "name": "user_profile",
        "version": 1,
        "store": "postgres",
        "state": "running",
        "cause": "",
        "lag_events": 0,
        "lag_seconds": 0.0,
        "parked": {"poison": 0, "waiting": 0, "oldest_s": 0.0},
        "partitions": [{"topic": "profiles", "partition": 3, "next_offset": 119, "events": 0, "seconds": 0.0}],
    },
}


def example_of(model: Any) -> Any:
    """The example of an answer; of a list, a list of one. None where there is none."""
    inner = get_args(model)
    if inner:
        one = example_of(inner[0])
        return None if one is None else [one]
    return EXAMPLES.get(model.__name__)
