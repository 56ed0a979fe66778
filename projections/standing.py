"""How a read model is doing: told to the health report and to whoever asks the database."""

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from psycopg import AsyncConnection

from infra.health import Health
from projections.view import Projection, topics_of

State: TypeAlias = Literal["starting", "running", "waiting", "stopped"]


class Standing:
    """The state of one read model in this runner; the lanes of its topics share it.

    Attributes:
        state: `starting` until the first batch or the end of the log, `running`, `waiting` for a store that is away,
            `stopped` for good.
        cause: why, for people.
    """

    def __init__(self, projection: Projection, health: Health) -> None:
        self.projection = projection
        self.state: State = "starting"
        self.cause = "has not reached the log yet"
        self._health = health
        self._resting: set[str] = set()
        health.failed(projection.name, self.cause)

    @property
    def stopped(self) -> bool:
        """Whether it has given up."""
        return self.state == "stopped"

    def runs(self) -> None:
        """It folds."""
        if not self.stopped:
            self._say("running", "")

    def waits(self, fault: Exception) -> None:
        """It waits for something that is away."""
        if not self.stopped:
            self._say("waiting", str(fault))

    def stops(self, fault: Exception) -> None:
        """It has given up; only a new start changes that."""
        self._say("stopped", str(fault))

    def rests(self, topic: str) -> bool:
        """It has come to the end of a topic; answers whether it has come to the end of all of them."""
        self.runs()
        self._resting.add(topic)
        return not self.stopped and self._resting >= set(topics_of(self.projection))

    def _say(self, state: State, cause: str) -> None:
        self.state, self.cause = state, cause
        if state == "running":
            self._health.ok(self.projection.name)
        else:
            self._health.failed(self.projection.name, f"{state}: {cause}")


async def record(connection: AsyncConnection[Any], standings: Iterable[Standing]) -> None:
    """Write the states where the query API and the command line read them."""
    rows = [(s.projection.name, s.projection.version, s.state, s.cause) for s in standings]
    names, versions, states, causes = (list(column) for column in zip(*rows, strict=True))
    await connection.execute(
        """INSERT INTO projection_states (view, version, state, cause)
           SELECT * FROM unnest(%s::text[], %s::int[], %s::text[], %s::text[])
           ON CONFLICT (view, version) DO UPDATE
           SET state = excluded.state, cause = excluded.cause, updated_at = now()""",
        (names, versions, states, causes),
    )
