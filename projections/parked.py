"""The tables of what read models do not take: `projection_parked`, `projection_skipped`, `projection_requests`.

An event that a read model cannot take is `poison`; it stands here with its cause, and the later events of its key stand
behind it as `waiting`. What stands here is not in the read model, and everything else below the checkpoint is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias

from psycopg import AsyncConnection

from schemas.position import Position

NUL = "\N{SYMBOL FOR NULL}"
"""What stands for a zero byte, which PostgreSQL does not keep in a text."""

Role: TypeAlias = Literal["poison", "waiting"]

TABLES = """
CREATE TABLE IF NOT EXISTS projection_parked (
    view text NOT NULL, version int NOT NULL, topic text NOT NULL, partition int NOT NULL, "offset" bigint NOT NULL,
    key text NOT NULL, role text NOT NULL CHECK (role IN ('poison', 'waiting')), code text NOT NULL,
    cause text NOT NULL, attempts int NOT NULL, request_id text NOT NULL DEFAULT '', told bool NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now(), last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (view, version, topic, partition, "offset")
);
CREATE INDEX IF NOT EXISTS projection_parked_by_key
    ON projection_parked (view, version, topic, partition, key, "offset");
CREATE UNIQUE INDEX IF NOT EXISTS projection_parked_one_poison
    ON projection_parked (view, version, topic, partition, key) WHERE role = 'poison';
CREATE TABLE IF NOT EXISTS projection_skipped (
    view text NOT NULL, topic text NOT NULL, partition int NOT NULL, "offset" bigint NOT NULL, reason text NOT NULL,
    request_id text NOT NULL, PRIMARY KEY (view, topic, partition, "offset")
);
CREATE TABLE IF NOT EXISTS projection_requests (
    view text NOT NULL, version int NOT NULL, partition int NOT NULL, next_offset bigint NOT NULL,
    request_id text NOT NULL DEFAULT '', recovered int NOT NULL DEFAULT 0, failed int NOT NULL DEFAULT 0,
    skipped int NOT NULL DEFAULT 0, released int NOT NULL DEFAULT 0, PRIMARY KEY (view, version, partition)
);
"""
"""`projection_parked.told`: whether it is among the dead letters; what a rebuild finds is put there by the projector.
What a rebuild keeps aside stands here under the name of its table or index, in place of the view's.
`projection_requests`: how far a read model has done what is asked of it, and the sums of what it is doing now."""

ADDED = "ALTER TABLE projection_offsets ADD COLUMN IF NOT EXISTS parking int NOT NULL DEFAULT 0"
"""What the table of checkpoints lacks where it was made before these."""


@dataclass(frozen=True, slots=True)
class Parked:
    """An event that a read model has not taken.

    Attributes:
        position: where it stands in the log.
        role: `poison`: it cannot be taken; `waiting`: it comes after one of its key that cannot.
        code: stable name of the cause; empty for one that waits.
        cause: what went wrong, for people.
        attempts: how often it has been tried.
    """

    position: Position
    key: str
    role: Role = "waiting"
    code: str = ""
    cause: str = ""
    attempts: int = 0


class Asked(Protocol):
    """Which poison events are meant: exactly one of these says something."""

    @property
    def position(self) -> str | None:
        """The one that stands there."""
        ...

    @property
    def key(self) -> str | None:
        """Those of a key."""
        ...

    @property
    def code(self) -> str | None:
        """Those with a cause."""
        ...

    @property
    def all(self) -> bool:
        """All of them."""
        ...


class Selection(Protocol):
    """A request that means some poison events."""

    @property
    def id(self) -> str:
        """Names the request."""
        ...

    @property
    def asked(self) -> Asked:
        """Which ones."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """What a fold has to know of one topic before it goes on.

    Attributes:
        keys: whose events wait.
        skipped: partition and offset of what is left out for good.
        epochs: by partition, how often somebody else than the fold has changed what is parked.
    """

    keys: frozenset[str]
    skipped: frozenset[tuple[int, int]]
    epochs: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much of a read model is parked.

    Attributes:
        oldest_s: how long the oldest poison event has been there, seconds; 0 when there is none.
    """

    poison: int = 0
    waiting: int = 0
    oldest_s: float = 0.0

    def note(self, view: str) -> str:
        """The same for people; empty when there is none."""
        if not self.poison:
            return ""
        return (
            f"{self.poison} events could not be taken and {self.waiting} wait behind them, the oldest for "
            f"{self.oldest_s:.0f} s: `retrace dead-letters causes --view {view}`"
        )


async def prepare(connection: AsyncConnection[Any]) -> None:
    """Make the tables where they are missing, within the transaction of the caller."""
    rows = await connection.execute("SELECT to_regclass('projection_requests') IS NULL AS missing")
    (row,) = await rows.fetchall()
    if row["missing"]:  # an index that is there already would wait for everybody who writes
        await connection.execute(ADDED)
        await connection.execute(TABLES)


async def known(connection: AsyncConnection[Any], view: str, version: int, topic: str) -> Known:
    """What is parked and left out of one topic. Read it in one snapshot with the checkpoint."""
    rows = await connection.execute(
        "SELECT DISTINCT key FROM projection_parked WHERE view = %s AND version = %s AND topic = %s",
        (view, version, topic),
    )
    keys = frozenset([key async for row in rows for key in (row["key"], row["key"].replace(NUL, "\0"))])
    return Known(keys, await skipped(connection, view, topic), await epochs(connection, view, version, topic))


async def skipped(connection: AsyncConnection[Any], view: str, topic: str) -> frozenset[tuple[int, int]]:
    """Partition and offset of what a read model leaves out, in whatever version."""
    rows = await connection.execute(
        'SELECT partition, "offset" FROM projection_skipped WHERE view = %s AND topic = %s', (view, topic)
    )
    return frozenset([(row["partition"], row["offset"]) async for row in rows])


async def epochs(connection: AsyncConnection[Any], view: str, version: int, topic: str) -> dict[int, int]:
    """By partition, how often what is parked was changed beside the fold."""
    rows = await connection.execute(
        "SELECT partition, parking FROM projection_offsets WHERE view = %s AND version = %s AND topic = %s",
        (view, version, topic),
    )
    return {row["partition"]: row["parking"] async for row in rows}


async def turn(connection: AsyncConnection[Any], view: str, version: int | None, position: Position) -> None:
    """Keep folds of this partition out until the transaction ends; they look again at what is parked afterwards.

    Args:
        version: None for every version of the view.
    """
    place = (view, version, position.topic, position.partition)
    await connection.execute(
        """SELECT 1 FROM projection_offsets WHERE view = %s AND version = coalesce(%s, version) AND topic = %s
           AND partition = %s ORDER BY version FOR UPDATE""",
        place,
    )
    await connection.execute(
        """UPDATE projection_offsets SET parking = parking + 1
           WHERE view = %s AND version = coalesce(%s, version) AND topic = %s AND partition = %s""",
        place,
    )


async def poisoned(connection: AsyncConnection[Any], view: str, version: int, which: Selection) -> list[Position]:
    """The poison events that a request means, and that it has not been tried on."""
    wanted = which.asked
    rows = await connection.execute(
        """SELECT topic, partition, "offset" FROM projection_parked
           WHERE view = %s AND version = %s AND role = 'poison' AND request_id <> %s
             AND (%s OR key = %s OR code = %s OR concat_ws('/', topic, partition, "offset") = %s)
           ORDER BY topic, partition, "offset" """,
        (view, version, which.id, wanted.all, wanted.key and _text(wanted.key), wanted.code, wanted.position),
    )
    return [Position(row["topic"], row["partition"], row["offset"]) async for row in rows]


async def line(connection: AsyncConnection[Any], view: str, version: int, head: Position) -> list[Parked]:
    """The events of the key of this one that stand aside in its partition, in their order; empty when it does not."""
    rows = await connection.execute(
        """SELECT p.* FROM projection_parked p JOIN projection_parked head USING (view, version, topic, partition, key)
           WHERE view = %s AND version = %s AND topic = %s AND partition = %s AND head."offset" = %s
           ORDER BY p."offset" """,
        (view, version, *place_of(head)),
    )
    return [parked_of(row) async for row in rows]


def parked_of(row: Mapping[str, Any]) -> Parked:
    """A row of the table."""
    position = Position(row["topic"], row["partition"], row["offset"])
    return Parked(position, row["key"], row["role"], row["code"], row["cause"], row["attempts"])


async def is_skipped(connection: AsyncConnection[Any], view: str, position: Position) -> bool:
    """Whether a read model leaves it out."""
    rows = await connection.execute(
        'SELECT 1 FROM projection_skipped WHERE view = %s AND topic = %s AND partition = %s AND "offset" = %s',
        (view, *place_of(position)),
    )
    return await rows.fetchone() is not None


async def park(
    connection: AsyncConnection[Any], view: str, version: int, events: Sequence[Parked], *, told: bool = True
) -> None:
    """Keep these events aside, within the transaction of the caller.

    Args:
        told: whether the poison ones are among the dead letters.
    """
    if not events:
        return
    columns: dict[str, list[Any]] = {
        "topics": [event.position.topic for event in events],
        "partitions": [event.position.partition for event in events],
        "offsets": [event.position.offset for event in events],
        "keys": [_text(event.key) for event in events],
        "roles": [event.role for event in events],
        "codes": [event.code for event in events],
        "causes": [_text(event.cause) for event in events],
        "attempts": [event.attempts for event in events],
    }
    await connection.execute(
        """INSERT INTO projection_parked (view, version, topic, partition, "offset", key, role, code, cause, attempts,
               told)
           SELECT %(view)s, %(version)s, *, %(told)s FROM unnest(
               %(topics)s::text[], %(partitions)s::int[], %(offsets)s::bigint[], %(keys)s::text[], %(roles)s::text[],
               %(codes)s::text[], %(causes)s::text[], %(attempts)s::int[])
           ON CONFLICT DO NOTHING""",
        {"view": view, "version": version, "told": told, **columns},
    )


async def release(connection: AsyncConnection[Any], view: str, version: int, positions: Iterable[Position]) -> None:
    """They are no longer aside."""
    places = list(positions)
    await connection.execute(
        """DELETE FROM projection_parked USING unnest(%s::text[], %s::int[], %s::bigint[]) AS gone(topic, partition, at)
           WHERE view = %s AND version = %s AND projection_parked.topic = gone.topic
             AND projection_parked.partition = gone.partition AND "offset" = gone.at""",
        ([p.topic for p in places], [p.partition for p in places], [p.offset for p in places], view, version),
    )


async def fails(
    connection: AsyncConnection[Any], view: str, version: int, event: Parked, request_id: str, at: datetime
) -> int:
    """It is what holds up its key; answers how often it has been tried."""
    rows = await connection.execute(
        """UPDATE projection_parked SET role = 'poison', code = %s, cause = %s, attempts = attempts + 1,
               request_id = %s, last_at = %s
           WHERE view = %s AND version = %s AND topic = %s AND partition = %s AND "offset" = %s RETURNING attempts""",
        (event.code, _text(event.cause), request_id, at, view, version, *place_of(event.position)),
    )
    row = await rows.fetchone()
    assert row is not None, "it is parked"
    return int(row["attempts"])


async def skip(connection: AsyncConnection[Any], view: str, position: Position, reason: str, request_id: str) -> bool:
    """Leave it out of every version of a read model, for good; whether that is new."""
    done = await connection.execute(
        "INSERT INTO projection_skipped VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (view, *place_of(position), reason, request_id),
    )
    return done.rowcount == 1


async def forget(connection: AsyncConnection[Any], view: str, version: int) -> None:
    """Nothing is aside any longer: the read model begins again."""
    await connection.execute("DELETE FROM projection_parked WHERE view = %s AND version = %s", (view, version))


async def count(connection: AsyncConnection[Any]) -> dict[tuple[str, int], Waiting]:
    """How much is parked, by read model and version; those that have nothing are not named."""
    rows = await connection.execute(
        """SELECT view, version, count(*) FILTER (WHERE role = 'poison') AS poison,
               count(*) FILTER (WHERE role = 'waiting') AS waiting,
               extract(epoch FROM now() - min(first_at) FILTER (WHERE role = 'poison'))::float8 AS oldest_s
           FROM projection_parked GROUP BY view, version"""
    )
    return {
        (row["view"], row["version"]): Waiting(row["poison"], row["waiting"], row["oldest_s"] or 0.0)
        async for row in rows
    }


def place_of(position: Position) -> tuple[str, int, int]:
    """A position as columns."""
    return position.topic, position.partition, position.offset


def _text(text: str) -> str:
    """As PostgreSQL can keep it."""
    return text.replace("\0", NUL)
