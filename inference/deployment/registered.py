"""What the registry says about a version that somebody wants to deploy."""

from collections.abc import Mapping
from typing import Any

import psycopg

from inference.deployment.placement import Version
from infra.postgres import away, connect
from infra.settings import Settings

REGISTERED = """
    SELECT r.artifact_sha256, r.retired, r.run_id, r.dataset_sha256, r.metrics, l.version AS serving,
        s.metrics AS serving_metrics
    FROM model_registry r LEFT JOIN live_models l USING (model)
        LEFT JOIN model_registry s ON s.model = r.model AND s.version = l.version
    WHERE r.model = %s AND r.version = %s
"""


async def registry_says(settings: Settings, version: Version) -> tuple[dict[str, str], list[str]]:
    """What is registered under a version's number, for the record, and what speaks against deploying it.

    Its metrics, and those of the version that serves, are what a person who has to approve it looks at first. A version
    that is not there is no fault: the read model may not have come so far.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    try:
        async with await connect(settings, "deployer") as connection:
            found = await connection.execute(REGISTERED, (version.model, version.number))
            row = await found.fetchone()
    except psycopg.errors.UndefinedTable:
        row = None
    except psycopg.Error as fault:
        raise away(fault) from fault
    if row is None:
        return {"registered": "not found"}, []
    faults = []
    if row["artifact_sha256"] != version.artifact_sha256:
        faults.append(f"version {version.number} is registered with the artifact {row['artifact_sha256']}")
    if row["retired"]:
        faults.append(f"version {version.number} is retired")
    return _told(row), faults


def _told(row: Mapping[str, Any]) -> dict[str, str]:
    told = {
        "registered": f"run {row['run_id']}",
        "dataset_sha256": row["dataset_sha256"] or "not recorded",
        "metrics": _in_words(row["metrics"]),
    }
    if row["serving"] is not None:
        told["serving"] = f"version {row['serving']}"
        told["serving_metrics"] = _in_words(row["serving_metrics"])
    return told


def _in_words(metrics: Mapping[str, float] | None) -> str:
    """`ndcg@10 0.125, recall@10 0.31`."""
    return ", ".join(f"{name} {value:.6g}" for name, value in sorted((metrics or {}).items())) or "none measured"
