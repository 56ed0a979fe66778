"""Telling a query that could not be fresh how far behind the read models are, in events and in seconds.

Many queries may be late at once, so one look at the log serves all that ask within a second.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from infra.kafka.consumer import open_consumer
from infra.settings import Settings
from projections.question import Reached, missing_in, position_header
from projections.watch import Lag, LogEnds
from schemas.errors import Invalid, Problem, TimedOut, Unavailable
from schemas.position import Position

LOOK_S = 1.0

Lags: TypeAlias = Mapping[tuple[str, int], Lag]


@dataclass(frozen=True)
class Look:
    """The log at one moment; no lags when Kafka did not answer."""

    at: float
    reached: Reached
    lags: Lags


class Behind:
    """Looks at the log for queries that were not fresh in time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._look = Look(float("-inf"), {}, {})

    async def problem(self, views: str, positions: Sequence[Position], reached: Reached, wait_s: float) -> Problem:
        """What to tell: it takes longer, or will never come since the log ends before."""
        places = {(one.topic, one.partition) for one in missing_in(positions, reached)}
        asked_at = time.monotonic() - wait_s
        lags = await self._lags({at: offset for at, offset in reached.items() if at in places}, asked_at)
        for one in missing_in(positions, reached):
            lag = lags.get((one.topic, one.partition))
            if lag is not None and one.offset >= lag.next_offset + lag.events:
                return past_end(one, lag.next_offset + lag.events)
        return TimedOut(
            f"{views} not at the position you asked for within {wait_s:g} s: it is {_told(positions, reached, lags)}; "
            "ask again, or wait longer with `wait` (at most 30)",
            code="position_not_reached",
            extra={
                "position": position_header(reached),
                "behind": [_document(one, missing, lags) for one, missing in missing_in(positions, reached).items()],
            },
        )

    async def _lags(self, reached: Reached, asked_at: float) -> Lags:
        """A look from before the question would not know what had just been written then."""
        async with self._lock:
            look = self._look
            if look.at < max(asked_at, time.monotonic() - LOOK_S) or not reached.keys() <= look.reached.keys():
                look = self._look = Look(time.monotonic(), reached, await self._measured(reached))
        return look.lags

    async def _measured(self, reached: Reached) -> Lags:
        by_topic: dict[str, dict[int, int]] = {}
        for (topic, partition), offset in reached.items():
            by_topic.setdefault(topic, {})[partition] = offset
        try:
            async with open_consumer(self._settings) as consumer:
                lags = await LogEnds(self._settings, consumer).lags(by_topic)
        except Unavailable:
            return {}
        return {(lag.topic, lag.partition): lag for lag in lags}


def past_end(position: Position, end: int) -> Invalid:
    """What to tell of a position that the log does not have."""
    last = f"its last position is {Position(position.topic, position.partition, end - 1)}" if end else "it is empty"
    return Invalid(
        f"{position} is past the end of {position.topic}/{position.partition}: {last}; "
        "give positions as answers gave them",
        code="position_past_end",
    )


def _told(positions: Sequence[Position], reached: Reached, lags: Lags) -> str:
    parts = []
    for one, missing in missing_in(positions, reached).items():
        lag = lags.get((one.topic, one.partition))
        age = f", the oldest of them {lag.seconds:.1f} s old" if lag is not None else ""
        parts.append(f"{missing} records behind {one}{age}")
    return ", ".join(parts)


def _document(position: Position, missing: int, lags: Lags) -> dict[str, Any]:
    lag = lags.get((position.topic, position.partition))
    known = {} if lag is None else {**asdict(lag), "seconds": round(lag.seconds, 3)}
    return {"wanted": str(position), "missing": missing, **known}
