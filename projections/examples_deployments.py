"""Examples of the answers about deployments and their approval."""

from collections.abc import Mapping
from typing import Any

NOON = "2026-01-31T12:00:00+00:00"
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

EXAMPLES: Mapping[str, Any] = {
    "Deployment": {
        "deployment_id": "d-3",
        "model": "movies",
        "version": 3,
        "artifact_sha256": SHA,
        "step": "completed",
        "rollback_to": 2,
        "requested_by": "ana",
        "requested_at": NOON,
        "updated_at": NOON,
        "reason": None,
        "evidence": {"validated": {"recall@10": "0.31"}},
        "approvals_wanted": 1,
        "requester_may_approve": False,
        "approve_until": NOON,
        "evidence_sha256": SHA,
        "approvals": [
            {
                "approver": "ben",
                "at": NOON,
                "comment": "recall is up",
                "artifact_sha256": SHA,
                "evidence_sha256": SHA,
                "position": "deployments/0/12",
            }
        ],
        "declined_by": None,
    },
    "ApprovalPolicy": {
        "model": "movies",
        "approvals": 1,
        "requester_may_approve": False,
        "timeout_s": 604_800,
        "reason": "four eyes on every version",
        "set_by": "root",
        "set_at": NOON,
    },
}
