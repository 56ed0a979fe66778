"""Every read model and how it is doing: for the API and for the command line."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import AsyncConnection

from projections import parked
from projections.parked import Waiting
from projections.view import Projection, View
from projections.watch import Lag, LogEnds, reached_by

WORSE = ("running", "starting", "waiting", "stalled", "stopped")
"""States of a worker, each worse than the one before."""

SILENT_AFTER_S = 15
"""A projector that has not told its state for so long does not run."""


@dataclass(frozen=True)
class Overview:
    """One read model.

    Attributes:
        store: where it is kept.
        state: as its projector said last; `silent` when that is long ago, `absent` before its first start.
        cause: why it is not running, or what it could not take, for people.
        lags: by topic and partition.
        parked: how much it has not been able to take.
    """

    name: str
    version: int
    store: str
    state: str
    cause: str
    lags: tuple[Lag, ...]
    parked: Waiting

    @property
    def lag_events(self) -> int:
        """Records not folded yet."""
        return sum(lag.events for lag in self.lags)

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest record not folded yet."""
        return max((lag.seconds for lag in self.lags), default=0.0)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "version": self.version,
            "store": self.store,
            "state": self.state,
            "cause": self.cause,
            "lag_events": self.lag_events,
            "lag_seconds": round(self.lag_seconds, 3),
            "parked": asdict(self.parked),
            "partitions": [asdict(lag) for lag in self.lags],
        }


async def overview(connection: AsyncConnection[Any], ends: LogEnds, wanted: Iterable[Projection]) -> list[Overview]:
    """How these read models are doing.

    Raises:
        Unavailable: Kafka does not answer.
        psycopg.errors.UndefinedTable: no projector has ever run here.
    """
    rows = await connection.execute(
        """SELECT view, version, state, cause, updated_at, extract(epoch FROM now() - updated_at)::float8 AS age
           FROM projection_workers"""
    )
    said: dict[tuple[str, int], list[Any]] = {}
    async for row in rows:
        said.setdefault((row["view"], row["version"]), []).append(row)
    aside = await parked.count(connection)
    found = []
    for projection in wanted:
        state, cause = _state(said.get((projection.name, projection.version), []))
        waiting = aside.get((projection.name, projection.version), Waiting())
        lags = tuple(await ends.lags(await reached_by(connection, projection)))
        store = "postgres" if isinstance(projection, View) else "elasticsearch"
        cause = cause or waiting.note(projection.name)
        found.append(Overview(projection.name, projection.version, store, state, cause, lags, waiting))
    return found


def _state(said: Sequence[Any]) -> tuple[str, str]:
    """What the workers say, the worst of it; those that have fallen silent count only when all have."""
    if not said:
        return "absent", "no projector has run it yet: start one with `retrace serve projector`"
    heard = [row for row in said if row["age"] <= SILENT_AFTER_S]
    if not heard:
        last = max(row["updated_at"] for row in said)
        return "silent", f"its projector has not been heard of since {last:%Y-%m-%d %H:%M:%S} UTC"
    worst = max(heard, key=lambda row: WORSE.index(row["state"]))
    return worst["state"], worst["cause"]
