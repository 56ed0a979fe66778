"""Examples of the answers about lineage."""

from collections.abc import Mapping
from typing import Any

from projections.examples_runs import NOON, RUN, SHA, UUID

EXAMPLES: Mapping[str, Any] = {
    "Seen": {
        "about": {"user_id": "42"},
        "interactions": 118,
        "read": {"scanned": 312, "picked": 131, "indexed": 2481557, "why": []},
        "versions": [
            {
                "model": "movies",
                "version": 3,
                "run_id": "run-3",
                "algorithm": "ease",
                "artifact_sha256": SHA,
                "dataset_sha256": SHA,
                "dataset_rows": 25021,
                "retired": False,
                "registered_at": NOON,
                "live": True,
                "saw": True,
                "rows": 117,
                "users": 1,
                "items": 112,
                "left_out": {"silent": 1},
                "first": "interactions/2/17",
                "last": "interactions/2/24980",
                "exact": True,
                "doubt": None,
            }
        ],
    },
    "VersionLineage": {
        "version": {
            "model": "movies",
            "version": 3,
            "run_id": "run-3",
            "algorithm": "ease",
            "artifact_sha256": SHA,
            "dataset_sha256": SHA,
            "metrics": {"recall@10": 0.31},
            "retired": False,
            "registered_at": NOON,
        },
        "live": True,
        "run": {name: RUN[name] for name in ("run_id", "model", "algorithm", "params", "status", "attempt")},
        "dataset": {
            "dataset_sha256": SHA,
            "dataset_rows": 25021,
            "duplicates": 0,
            "dataset": RUN["dataset"],
        },
        "ranges": [{"topic": "interactions", "partition": 0, "first": 0, "end": 25021, "offsets": 25021}],
        "steps": [
            {
                "name": "started",
                "attempt": 1,
                "at": NOON,
                "actor": "trainer",
                "correlation_id": "request-1",
                "event_id": UUID,
                "details": {"worker": "trainer-1/4711", "slot": 0},
                "position": "models/1/7",
            }
        ],
        "deployments": [],
    },
}
