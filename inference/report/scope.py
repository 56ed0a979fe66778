"""Which part of the log a report speaks for: fixed once, so that the same report can be made again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.kafka.ranges import checked, ranges_between
from infra.kafka.records import Decoder
from infra.kafka.replay import recorded
from infra.settings import Settings
from schemas.errors import Invalid
from schemas.models import OffsetRange

TOPICS = ("catalog", "dead-letters", "decisions", "deployments", "interactions", "models", "profiles")
"""What a report reads."""

LEAD_IN = timedelta(seconds=60)
"""How long before a period the numbers of answers are looked at: records of one server stand in several partitions."""


@dataclass(frozen=True)
class Scope:
    """A period, as offsets.

    Attributes:
        since: its begin, included; None for the start of the log.
        until: its end, not included.
        ranges: what each partition took in during the period, by the time stamped on its records.
        lead_in: the moments before it, of `decisions` alone.
    """

    since: datetime | None
    until: datetime
    ranges: tuple[OffsetRange, ...]
    lead_in: tuple[OffsetRange, ...] = ()

    def during(self, topic: str) -> list[OffsetRange]:
        """The period's part of a topic."""
        return [part for part in self.ranges if part.topic == topic]

    def up_to(self, topic: str) -> list[OffsetRange]:
        """All that a topic held at the end of the period: what states are folded from."""
        return [replace(part, first=0) for part in self.during(topic)]

    def span(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset of the period in a partition, and the one after its last."""
        return next(((r.first, r.end) for r in self.during(topic) if r.partition == partition), (0, 0))


async def resolve(settings: Settings, decoder: Decoder, since: datetime | None, until: datetime | None) -> Scope:
    """The period between two times; until now when no end is given.

    Raises:
        Invalid: it ends before it begins, has not come yet, or lies before the log.
        NotFound: a topic is not there yet.
        Unavailable: the brokers do not answer.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    end = until or now + timedelta(seconds=1)
    _check(since, until, now)
    ranges = await ranges_between(settings, TOPICS, since, end)
    await _check_begun(settings, decoder, ranges, end)
    lead = [] if since is None else await ranges_between(settings, ["decisions"], since - LEAD_IN, since)
    return Scope(since, end, tuple(ranges), tuple(lead))


def _check(since: datetime | None, until: datetime | None, now: datetime) -> None:
    if since is not None and until is not None and since >= until:
        raise Invalid(
            f"the period from {since.isoformat()} to {until.isoformat()} is empty: give an end after its begin",
            code="empty_period",
        )
    for moment in (since, until):
        if moment is not None and moment > now:
            raise Invalid(
                f"{moment.isoformat()} has not come yet: nobody knows what the log will hold; give a time that is past",
                code="period_in_future",
            )


async def _check_begun(settings: Settings, decoder: Decoder, ranges: Sequence[OffsetRange], until: datetime) -> None:
    """Refuse a period that was over before the first record."""
    if any(part.end for part in ranges):
        return
    first = await first_moment(settings, decoder)
    if first is None:
        raise Invalid("the log holds nothing yet: there is nothing to report on", code="empty_log")
    raise Invalid(
        f"the log begins at {first.isoformat()}, after the period to {until.isoformat()}: ask for a later one",
        code="period_before_start",
    )


async def first_moment(settings: Settings, decoder: Decoder) -> datetime | None:
    """When the first record was written; None while there is none."""
    everything = await ranges_between(settings, TOPICS, None, None)
    firsts = [replace(part, end=part.first + 1) for part in everything if part.end > part.first]
    return min([one.meta.time async for one in recorded(settings, decoder, firsts)], default=None)


def as_fields(scope: Scope) -> dict[str, Any]:
    """For a report's JSON, from which `again` makes the same scope."""
    return {
        "since": None if scope.since is None else scope.since.isoformat(),
        "until": scope.until.isoformat(),
        "ranges": [_fields(part) for part in scope.ranges],
        "lead_in": [_fields(part) for part in scope.lead_in],
    }


def _fields(part: OffsetRange) -> dict[str, Any]:
    return {"topic": part.topic, "partition": part.partition, "first": part.first, "end": part.end}


async def again(settings: Settings, fields: Mapping[str, Any]) -> Scope:
    """The scope of an earlier report, when the log still holds it.

    Raises:
        Invalid: the fields are those of no report, or the log ends before or begins after what they name.
    """
    try:
        since = None if fields["since"] is None else datetime.fromisoformat(fields["since"])
        until = datetime.fromisoformat(fields["until"])
        ranges, lead_in = _ranges(fields["ranges"]), _ranges(fields["lead_in"])
    except (KeyError, TypeError, ValueError) as fault:
        raise Invalid(
            f"this is no report, it says no positions ({fault!r}): make one with `retrace report -o json`",
            code="no_report",
        ) from fault
    await checked(settings, ranges)
    return Scope(since, until, tuple(ranges), tuple(lead_in))


def _ranges(fields: Iterable[Mapping[str, Any]]) -> list[OffsetRange]:
    return [
        OffsetRange(topic=str(f["topic"]), partition=int(f["partition"]), first=int(f["first"]), end=int(f["end"]))
        for f in fields
    ]
