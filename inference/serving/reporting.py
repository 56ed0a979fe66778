"""What a server says on the log about its own answers: that it began, how far they are settled, and how it ended."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import structlog
from uuid6 import uuid7

from inference.serving.tickets import Loss, Tickets, left_behind, remove
from infra.kafka.facts import FactWriter
from infra.settings import Settings
from schemas.envelope import Meta
from schemas.serving import AnswersReported, LostAnswer, ServerStarted

BEAT_S = 60.0
"""How often a server says at least that it is there."""
PIECE = 2000
"""Lost answers in one event, which stays well below what a broker takes."""

End: TypeAlias = Literal["running", "stopped", "died"]

log = structlog.get_logger()


class Reporter:
    """Reports the answers of one start of a server, and those of servers of the same folder that are gone.

    Args:
        tickets: the count.
    """

    def __init__(self, settings: Settings, tickets: Tickets) -> None:
        self._settings = settings
        self._tickets = tickets
        self._started_at: datetime | None = datetime.now(UTC)
        self._told, self._told_at = 0, time.monotonic()

    async def run(self, writer: FactWriter) -> None:
        """Report again and again until cancelled; what is away meanwhile is reported later."""
        while True:
            try:
                await self._begin(writer)
                await self._report(writer, "running")
                await self._settle(writer)
                await asyncio.to_thread(self._tickets.flush)
            except Exception as fault:  # also a file that somebody who died has left damaged: who reports goes on
                log.warning("answers are not reported", cause=str(fault) or repr(fault))
            await asyncio.sleep(self._settings.recommend.report_s)

    async def end(self, writer: FactWriter) -> None:
        """The last word: everything is recorded or counted as lost.

        Raises:
            Unavailable: Kafka did not take it; the file stays for the next server.
        """
        await self._begin(writer)
        await self._report(writer, "stopped")

    async def _begin(self, writer: FactWriter) -> None:
        if self._started_at is not None:
            event = ServerStarted(server=self._tickets.server, started_at=self._started_at)
            await writer.append(event, _meta(event.AVRO, event.server, event.started_at))
            self._started_at = None

    async def _report(self, writer: FactWriter, end: End) -> None:
        settled, losses = self._tickets.settled, list(self._tickets.lost)
        quiet_s = time.monotonic() - self._told_at
        if settled == self._told and not losses and end == "running" and quiet_s < BEAT_S:
            return
        await self._append(writer, self._tickets.server, settled, losses, end)
        self._told, self._told_at = settled, time.monotonic()
        del self._tickets.lost[: len(losses)]

    async def _settle(self, writer: FactWriter) -> None:
        """Report for those who can no longer do it themselves."""
        for left in left_behind(self._settings.ticket_folder):
            await self._append(writer, left.server, left.handed, left.lost, "died")
            remove(left.path)
            log.warning("a server died", server=left.server, answers=left.handed, in_doubt=len(left.lost))

    async def _append(self, writer: FactWriter, server: str, sequence: int, losses: Sequence[Loss], end: End) -> None:
        """In pieces, the end on the last one."""
        now = datetime.now(UTC)
        pieces = [losses[at : at + PIECE] for at in range(0, len(losses), PIECE)] or [()]
        for place, piece in enumerate(pieces, start=1):
            event = AnswersReported(
                server=server,
                sequence=sequence,
                lost=tuple(LostAnswer(sequence=x.sequence, decision_id=x.decision_id, cause=x.cause) for x in piece),
                reported_at=now,
                end=end if place == len(pieces) else "running",
                by=self._tickets.server,
            )
            await writer.append(event, _meta(event.AVRO, server, now))


def _meta(type: str, server: str, moment: datetime) -> Meta:
    return Meta(id=uuid7(), type=type, source="serving", subject=server, time=moment, actor="serving")
