"""What the registry says about a version that somebody wants to deploy."""

import psycopg

from inference.deployment.placement import Version
from infra.postgres import away, connect
from infra.settings import Settings


async def registry_says(settings: Settings, version: Version) -> tuple[str, list[str]]:
    """What is registered under a version's number, for the record, and what speaks against deploying it.

    A version that is not there is no fault: the read model may not have come so far.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    try:
        async with await connect(settings, "deployer") as connection:
            found = await connection.execute(
                "SELECT artifact_sha256, retired, run_id FROM model_registry WHERE model = %s AND version = %s",
                (version.model, version.number),
            )
            row = await found.fetchone()
    except psycopg.errors.UndefinedTable:
        row = None
    except psycopg.Error as fault:
        raise away(fault) from fault
    if row is None:
        return "not found", []
    faults = []
    if row["artifact_sha256"] != version.artifact_sha256:
        faults.append(f"version {version.number} is registered with the artifact {row['artifact_sha256']}")
    if row["retired"]:
        faults.append(f"version {version.number} is retired")
    return f"run {row['run_id']}", faults
