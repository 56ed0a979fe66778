"""How a read model is doing: told to the health report and to whoever asks the database."""

import time
from collections.abc import Iterable
from random import uniform
from typing import Any, Literal, TypeAlias

from psycopg import AsyncConnection

from infra.health import Health
from projections.view import Projection, topics_of

State: TypeAlias = Literal["starting", "running", "waiting", "stopped", "stalled"]

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


class Standing:
    """The state of one read model in this runner; the lanes of its topics share it.

    Attributes:
        state: `starting` until the first batch or the end of the log, `running`, `waiting` for a store that is away,
            `stopped` by a fault of its own until the next attempt, `stalled` when it should run and does not get on.
        cause: why, for people.
        attempts: how often it has stopped since it last ran.
        note: what people should know though it runs.
    """

    def __init__(self, projection: Projection, health: Health) -> None:
        self.projection = projection
        self.state: State = "starting"
        self.cause = "has not reached the log yet"
        self.attempts = 0
        self.note = ""
        self._health = health
        self._again_at = 0.0
        self._resting: set[str] = set()
        health.failed(projection.name, self.cause)

    @property
    def stopped(self) -> bool:
        """Whether it has given up for now."""
        return self.state == "stopped" and time.monotonic() < self._again_at

    @property
    def pause_s(self) -> float:
        """How long until it may be tried again."""
        return max(0.0, self._again_at - time.monotonic())

    def runs(self) -> None:
        """It folds."""
        if not self.stopped:
            self.attempts = 0
            self._say("running", "")

    def waits(self, fault: Exception) -> None:
        """It waits for something that is away."""
        if not self.stopped:
            self._say("waiting", str(fault))

    def notes(self, note: str) -> None:
        """It runs, and people should know this beside."""
        self.note = note
        if self.state == "running":
            self._health.ok(self.projection.name, note)

    def stalls(self, cause: str) -> None:
        """It should be folding, and nothing moves."""
        if self.state == "running":
            self._say("stalled", cause)

    def stops(self, fault: Exception) -> None:
        """It gives up for a while, longer each time."""
        if self.stopped:
            return
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self.attempts) * uniform(0.8, 1.2)
        self.attempts += 1
        self._again_at = time.monotonic() + pause_s
        self._say("stopped", f"{fault}" if self.attempts == 1 else f"{fault} (tried {self.attempts} times)")

    def rests(self, topic: str) -> bool:
        """It has come to the end of a topic; answers whether it has come to the end of all of them."""
        self.runs()
        self._resting.add(topic)
        return not self.stopped and self._resting >= set(topics_of(self.projection))

    def _say(self, state: State, cause: str) -> None:
        self.state, self.cause = state, cause
        if state == "running":
            self._health.ok(self.projection.name, self.note)
        else:
            self._health.failed(self.projection.name, f"{state}: {cause}")


async def record(connection: AsyncConnection[Any], worker: str, standings: Iterable[Standing]) -> None:
    """Write the states where the query API and the command line read them."""
    rows = [(s.projection.name, s.projection.version, s.state, s.cause) for s in standings]
    names, versions, states, causes = (list(column) for column in zip(*rows, strict=True))
    await connection.execute(
        """INSERT INTO projection_workers (worker, view, version, state, cause)
           SELECT %s, * FROM unnest(%s::text[], %s::int[], %s::text[], %s::text[])
           ON CONFLICT (view, version, worker) DO UPDATE
           SET state = excluded.state, cause = excluded.cause, updated_at = now()""",
        (worker, names, versions, states, causes),
    )


async def forget_gone(connection: AsyncConnection[Any]) -> None:
    """Remove what workers said that have not been heard of for a day."""
    await connection.execute("DELETE FROM projection_workers WHERE updated_at < now() - interval '1 day'")
