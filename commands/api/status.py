"""What became of a command: from the tail's memory, else from the published command log."""

import time
from typing import Any
from uuid import UUID

import psycopg

from commands.api.outcomes import Outcomes
from infra.postgres import Pool, away
from schemas.errors import NotFound

PENDING_S = 600
QUERY = """
    SELECT aggregate_id, outcome, status, version, type, code, detail, topic, partition, "offset", answered_at
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

    async def of(self, command_id: UUID) -> dict[str, Any]:
        """The answer, or that it is still to come.

        Raises:
            NotFound: there is no such command.
            Unavailable: the command is not among the recent ones, and PostgreSQL does not answer.
        """
        known = self._outcomes.known(command_id)
        if known is not None:
            return known.document()
        if self._outcomes.is_awaited(command_id):
            return _pending(command_id)
        logged = await self._logged(command_id)
        if logged is not None:
            return logged
        if _age_s(command_id) < PENDING_S:
            return _pending(command_id)
        raise NotFound(f"no command {command_id} is on record", code="unknown_command")

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
