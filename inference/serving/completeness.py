"""Whether every answer that was given is on record, for each start of each server.

A server numbers its answers and says how far the numbers went (`inference.serving.reporting`); the log has the answers.
What was numbered and is not there is missing, and the server's own account says which decision it was and why.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from inference.serving.reporting import BEAT_S
from infra.kafka import columns, frame
from infra.kafka.fetch import fetch, open_client
from infra.kafka.ranges import ranges_between
from infra.kafka.records import Decoder
from infra.settings import Settings
from schemas.decisions import RecommendationServed
from schemas.serving import AnswersReported, LostAnswer, ServerStarted
from schemas.topics import TOPICS

DECISIONS, SERVING = "decisions", "serving"
SILENT_S = 5 * BEAT_S
"""A server that has said nothing for so long, not even that it is there, does not run any more."""
SLACK = timedelta(seconds=60)

State: TypeAlias = Literal["running", "stopped", "died", "silent", "unreported"]
"""running: it goes on; stopped, died: its last word is on the log; silent: it ended without one, and no server has been
started on its folder since; unreported: records name it, and it never said anything itself."""
Why: TypeAlias = Literal["shed", "refused", "died", "unanswered", "unexplained"]
"""shed: the queue was full; refused: the record did not fit its schema; died: the server was killed while the record
was on its way; unanswered: it was killed before the answer was sent; unexplained: nothing says why, as when somebody
removed the record."""

Numbers: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Missing:
    """A number that was handed out and is on no record.

    Attributes:
        decision_id: what the caller got; empty when nobody knows.
    """

    sequence: int
    decision_id: str
    why: Why

    @property
    def given(self) -> bool:
        """Whether an answer was, or may have been, given under it."""
        return self.why != "unanswered"


@dataclass
class Account:
    """What one start of a server said about itself.

    Attributes:
        settled: up to which number everything is on record or lost; after its end, the highest number.
        end: its end, or `running` as far as is known.
    """

    server: str
    started_at: datetime | None = None
    reported_at: datetime | None = None
    settled: int = 0
    end: Literal["running", "stopped", "died"] = "running"
    lost: dict[int, LostAnswer] = field(default_factory=dict)

    def hear(self, event: ServerStarted | AnswersReported) -> None:
        """Take its next word; the same word again, after a crash, changes nothing."""
        if isinstance(event, ServerStarted):
            self.started_at = event.started_at
            return
        self.settled = max(self.settled, event.sequence)
        self.lost |= {lost.sequence: lost for lost in event.lost}
        self.reported_at = max(self.reported_at or event.reported_at, event.reported_at)
        if event.end in ("stopped", "died") and self.end == "running":
            self.end = event.end


@dataclass(frozen=True)
class ServerReport:
    """One start of a server, held against the log.

    Attributes:
        answers: numbers that are accounted for.
        recorded: of them on record.
        repeated: records that are there more than once under one id, which is what a retry leaves and does no harm.
        missing: those that are on no record.
        twice: numbers under which there are two different decisions.
    """

    server: str
    state: State
    started_at: datetime | None
    reported_at: datetime | None
    answers: int
    recorded: int
    repeated: int
    missing: tuple[Missing, ...]
    twice: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Whether every answer is on record once, and all answers are known of."""
        lost = any(missing.given for missing in self.missing)
        return not lost and not self.twice and self.state in ("running", "stopped", "died")


@dataclass(frozen=True)
class Completeness:
    """All starts of servers in a time."""

    servers: tuple[ServerReport, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is missing anywhere."""
        return all(server.whole for server in self.servers)


async def completeness(
    settings: Settings, decoder: Decoder, since: datetime | None = None, until: datetime | None = None
) -> Completeness:
    """Hold what servers say they answered against what is on record.

    Args:
        since: leave out servers that had ended by then; one that ran into the time is looked at from its start.
        until: leave out servers that began then or later.

    Raises:
        Incompatible: a record cannot be read.
        Unavailable: the brokers or the registry do not answer.
    """
    accounts = await _accounts(settings, decoder)
    within = {server: a for server, a in accounts.items() if _within(a, since, until)}
    first = _first(within, since) if since is not None else None
    seen = await _seen(settings, decoder, first, None)
    now = datetime.now(UTC)
    reports = [report(within[server], seen.get(server), now) for server in within]
    strangers = [report(Account(server), rows, now) for server, rows in seen.items() if server not in accounts]
    return Completeness(tuple(sorted([*reports, *strangers], key=lambda r: (str(r.started_at), r.server))))


async def _accounts(settings: Settings, decoder: Decoder) -> dict[str, Account]:
    accounts: dict[str, Account] = {}
    async for tables in _tables(settings, decoder, SERVING, None, None):
        for name, table in tables.items():
            for row in table.iter_rows(named=True):
                account = accounts.setdefault(row["server"], Account(row["server"]))
                account.hear(_event(name, row))
    return accounts


def _event(name: str, row: Mapping[str, object]) -> ServerStarted | AnswersReported:
    fields = {key: value for key, value in row.items() if not key.startswith("_")}
    if name == ServerStarted.AVRO:
        return ServerStarted(**fields)  # type: ignore[arg-type]
    lost = tuple(LostAnswer(**one) for one in fields.pop("lost"))  # type: ignore[attr-defined]
    return AnswersReported(**fields, lost=lost)  # type: ignore[arg-type]


def _within(account: Account, since: datetime | None, until: datetime | None) -> bool:
    ended = account.reported_at if account.end != "running" else None
    if since is not None and ended is not None and ended < since:
        return False
    return not (until is not None and account.started_at is not None and account.started_at >= until)


def _first(accounts: Mapping[str, Account], since: datetime) -> datetime:
    """From when on answers have to be read: from the start of every server that is looked at."""
    starts = [account.started_at for account in accounts.values() if account.started_at is not None]
    return min([since, *starts]) - SLACK


async def _seen(
    settings: Settings, decoder: Decoder, since: datetime | None, until: datetime | None
) -> dict[str, pl.DataFrame]:
    """Number and hashed decision of the records of each server."""
    parts: dict[str, list[pl.DataFrame]] = {}
    async for tables in _tables(settings, decoder, DECISIONS, since, until):
        if (table := tables.get(RecommendationServed.AVRO)) is not None:
            rows = table.select("server", "sequence", pl.col("decision_id").hash())  # ids of millions would fill memory
            for (server,), group in rows.partition_by("server", as_dict=True, include_key=False).items():
                parts.setdefault(str(server), []).append(group)
    return {server: pl.concat(groups) for server, groups in parts.items()}


async def _tables(
    settings: Settings, decoder: Decoder, topic: str, since: datetime | None, until: datetime | None
) -> AsyncIterator[dict[str, pl.DataFrame]]:
    """The events of a topic, of every tenant: a server answers for all of them."""
    ranges = await ranges_between(settings, [topic], since, until)
    async with open_client(settings, [topic]) as client, aclosing(fetch(client, settings, ranges)) as pieces:
        async for fetched in pieces:
            part = fetched.part
            rows = await asyncio.to_thread(frame.of_range, fetched.blocks, part.first, part.end, columns.HEADERS)
            await decoder.learn_ids(columns.schema_ids(rows))
            yield await asyncio.to_thread(columns.events, rows, TOPICS[topic], part.partition, decoder.codec, None)


def report(account: Account, rows: pl.DataFrame | None, now: datetime) -> ServerReport:
    """One start of a server.

    Args:
        rows: `sequence` and `decision_id` of every record that names it.
        now: to tell whether it is silent.
    """
    numbers, repeated, twice = _numbers(rows)
    state = _state(account, now)
    known = account.settled if state != "unreported" else int(numbers[-1])
    within = numbers[numbers <= known]
    return ServerReport(
        account.server,
        state,
        account.started_at,
        account.reported_at,
        known,
        len(within),
        repeated,
        tuple(_missing(account, within, known)),
        tuple(twice),
    )


def _numbers(rows: pl.DataFrame | None) -> tuple[Numbers, int, list[int]]:
    """Numbers in order, how many records are repeats, and numbers of two decisions."""
    if rows is None:
        return np.array([], np.int64), 0, []
    decisions = rows.unique(["sequence", "decision_id"])
    counted = decisions.group_by("sequence").len().sort("sequence")
    twice = counted.filter(pl.col("len") > 1)["sequence"].to_list()
    return counted["sequence"].to_numpy(), len(rows) - len(decisions), twice


def _missing(account: Account, numbers: Numbers, known: int) -> Sequence[Missing]:
    gaps = np.setdiff1d(np.arange(1, known + 1), numbers, assume_unique=True).tolist()
    return [_one(account, sequence, last=known) for sequence in gaps]


def _one(account: Account, sequence: int, *, last: int) -> Missing:
    lost = account.lost.get(sequence)
    if lost is not None:
        return Missing(sequence, lost.decision_id, "unexplained" if lost.cause == "unknown" else lost.cause)
    if account.end == "died" and sequence == last:
        return Missing(sequence, "", "unanswered")
    return Missing(sequence, "", "unexplained")


def _state(account: Account, now: datetime) -> State:
    heard = account.reported_at or account.started_at
    if heard is None:
        return "unreported"
    if account.end != "running":
        return account.end
    return "silent" if now - heard > timedelta(seconds=SILENT_S) else "running"
