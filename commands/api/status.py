"""What became of a command: from the tail's memory, else from the published command log."""

import time
from typing import Any
from uuid import UUID

import psycopg

from commands.api.outcomes import Outcomes
from infra.postgres import Pool, away
from schemas.errors import NotFound

PENDING_S = 600
"""After so long without an answer a command is taken for one that never got on the log."""
HEARD_S = 60
"""For so long the answer is expected to be heard; later it is looked up, for it may have been given unheard."""
QUERY = """
    SELECT tenant, aggregate_id, outcome, status, version, type, code, detail, topic, partition, "offset", answered_at
    FROM command_log WHERE command_id = %s ORDER BY command_offset LIMIT 1
"""


class Status:
    """Answers `GET /commands/{id}`.

    Args:
        pool: open; the command log may be behind, or not be there yet.
    """

    def __init__(self, outcomes: Outcomes, pool: Pool) -> None:
        self._outcomes = outcomes
        self._pool = pool

    async def of(self, command_id: UUID, tenant: str, wait_s: float = 0) -> dict[str, Any]:
        """The answer, or that it is still to come.

        Args:
            tenant: who asks; the commands of others are unknown to them.
            wait_s: how long to wait for it, in seconds.

        Raises:
            NotFound: there is no such command.
            Unavailable: the command is not among the recent ones, and PostgreSQL does not answer.
        """
        found = await self._known(command_id)
        if found is not None and found["outcome"] == "pending" and wait_s:
            outcome = await self._outcomes.settled(command_id, wait_s)
            found = found if outcome is None else outcome.document() | {"tenant": outcome.tenant}
        if found is None or found.pop("tenant", tenant) != tenant:
            raise NotFound(f"no command {command_id} is on record", code="unknown_command")
        return found

    async def _known(self, command_id: UUID) -> dict[str, Any] | None:
        outcome = self._outcomes.known(command_id)
        if outcome is not None:
            return outcome.document() | {"tenant": outcome.tenant}
        awaited_s = self._outcomes.awaited_s(command_id)
        if awaited_s < HEARD_S:
            return _pending(command_id)
        is_young = min(awaited_s, _age_s(command_id)) < PENDING_S
        return await self._logged(command_id) or (_pending(command_id) if is_young else None)

    async def _logged(self, command_id: UUID) -> dict[str, Any] | None:
        try:
            async with self._pool.connection() as connection:
                row = await (await connection.execute(QUERY, (str(command_id),))).fetchone()
        except psycopg.errors.UndefinedTable:
            return None  # no projection has run yet
        except (psycopg.OperationalError, TimeoutError) as fault:
            raise away(fault) from fault
        return None if row is None else _document(command_id, row)


def _document(command_id: UUID, row: dict[str, Any]) -> dict[str, Any]:
    position = f"{row['topic']}/{row['partition']}/{row['offset']}"
    refusal = {"code": row["code"], "detail": row["detail"]} if row["outcome"] == "rejected" else {}
    return {
        "command_id": str(command_id),
        "tenant": row["tenant"],
        "aggregate_id": row["aggregate_id"],
        "outcome": row["outcome"],
        "status": row["status"],
        "version": row["version"],
        "position": position,
        "answered_at": row["answered_at"],
        **refusal,
    }


def _pending(command_id: UUID) -> dict[str, Any]:
    return {"command_id": str(command_id), "outcome": "pending"}


def _age_s(command_id: UUID) -> float:
    """How long ago a UUIDv7 was made; any other id is as old as can be."""
    return abs(time.time() - (command_id.int >> 80) / 1000) if command_id.version == 7 else float("inf")
