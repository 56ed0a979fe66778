"""Whatever happens in whatever order: in the end the read model is the fold of the log without what was skipped.

A real PostgreSQL, and a log in memory, so that hundreds of histories take seconds. Events, poison, mending, retries,
skips, restarts and faults between saying and committing come as hypothesis chooses them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import AsyncConnection
from uuid6 import uuid7

from infra.kafka.records import Raw
from infra.settings import Settings
from projections import asked, checkpoint, parked
from projections.batch import Batch
from projections.faults import translated
from projections.mending import Mender, Read, TableStore
from projections.parked import Parked
from projections.parking import Parking, Quiet
from projections.request import Outcome, Request
from projections.table import Table
from projections.testing import Log, batch_of, minute, raw_of
from projections.view import Projection, View
from schemas.deadletters import RetryRequested, SkipRequested
from schemas.envelope import Meta, Recorded
from schemas.errors import Unavailable
from schemas.interactions import InteractionRecorded
from schemas.position import Position

TRAIL = View(
    name="trail",
    version=1,
    reads=(InteractionRecorded,),
    table="user_id text PRIMARY KEY, items text NOT NULL",
    batch='user_id text, item_id text, "offset" bigint',
    apply="""
        INSERT INTO {table} AS t (user_id, items)
        SELECT user_id, string_agg(item_id, ' ' ORDER BY "offset") FROM batch
        WHERE 1 / (CASE WHEN item_id = ANY(SELECT item_id FROM refused) THEN 0 ELSE 1 END) = 1 GROUP BY user_id
        ON CONFLICT (user_id) DO UPDATE SET items = t.items || ' ' || excluded.items
    """,
)
"""What each user looked at, in order; items in the table `refused` do not fit."""

TOPIC = "interactions"
USERS, ITEMS = ("ana", "eva", "ida"), ("a", "b", "bad", "worse")

Step = tuple[str, Any]
EVENTS = st.lists(st.tuples(st.sampled_from(USERS), st.sampled_from(ITEMS)), min_size=1, max_size=6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("events"), st.tuples(EVENTS, st.integers(0, 6))),
        st.tuples(st.just("retry"), st.sampled_from((*USERS, "all", "all"))),
        st.tuples(st.just("skip"), st.sampled_from((*USERS, "all"))),
        st.tuples(st.just("fault"), st.sampled_from(("retry", "skip"))),
        st.tuples(st.just("mend"), st.sampled_from(("bad", "worse"))),
        st.tuples(st.just("restart"), st.none()),
    ),
    min_size=10,
    max_size=30,
)


@dataclass
class Memory:
    """A log in memory: where parked events are read again, and where outcomes are said."""

    log: Log = field(default_factory=Log)
    events: list[Recorded] = field(default_factory=list)
    said: list[Outcome] = field(default_factory=list)
    fails: bool = False

    def add(self, user: str, item: str) -> None:
        event = InteractionRecorded(user_id=user, item_id=item, kind="view", occurred_at=minute(0))
        self.events.append(self.log.add(event))

    async def read(self, topic: str, partition: int, offsets: Sequence[int]) -> list[Read]:
        return [(raw_of(self.events[offset]), self.events[offset]) for offset in offsets]

    async def say(self, outcome: Outcome, key: str, of: Meta, mark: str) -> None:
        self.said.append(outcome)
        if self.fails:  # it is on the log, and what it speaks of is not committed
            self.fails = False
            raise Unavailable("killed")

    async def letter(self, projection: Projection, event: Parked, raw: Raw) -> None:
        """Nobody looks at letters here."""


class World:
    """A projector and its mender over one database."""

    def __init__(self, connection: AsyncConnection[Any], schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self._table = Table(TRAIL, schema)
        self.memory = Memory()
        self.reached = 0
        self._epochs: dict[int, int] = {}
        self._parking: Parking | None = None
        self._requests = 0

    async def begin(self) -> None:
        for table in ("trail_v1", "projection_parked", "projection_skipped", "projection_requests", "refused"):
            await self._connection.execute(f"DELETE FROM {table}".encode())
        await self._connection.execute("DELETE FROM projection_offsets")
        await self._connection.execute("INSERT INTO refused VALUES ('bad'), ('worse')")
        await checkpoint.ensure(self._connection, "trail", 1, TOPIC, [0])
        await asked.ensure(self._connection, "trail", 1, {0: 0})
        await self.restart()

    async def restart(self) -> None:
        known = await parked.known(self._connection, "trail", 1, TOPIC)
        self.reached = (await checkpoint.load(self._connection, "trail", 1))[TOPIC][0]
        self._epochs = dict(known.epochs)
        self._parking = Parking(TRAIL, known, Quiet())

    async def fold(self, size: int) -> None:
        """Fold the next events; looks again when somebody has mended meanwhile."""
        part = self.memory.events[self.reached : self.reached + size]
        if not part:
            return
        assert self._parking is not None
        try:
            await self._parking.take(batch_of(part, {0: self.reached}), self._apply)
        except checkpoint.Overtaken:
            await self.restart()
            await self.fold(size)

    async def _apply(self, batch: Batch, aside: Sequence[Parked]) -> None:
        with translated("trail"):
            async with self._connection.transaction():
                await checkpoint.fence(self._connection, "trail", 1, batch, self._epochs)
                await self._table.fold(self._connection, batch)
                await parked.park(self._connection, "trail", 1, aside)
                await checkpoint.advance(self._connection, self._schema, "trail", 1, batch)
        self.reached = batch.ends[0]

    async def ask(self, kind: str, which: str, *, fault: bool = False) -> None:
        """Ask, and do it again when it is killed in between: requests come at least once."""
        chosen: dict[str, Any] = {"all": True} if which == "all" else {"key": which}
        wanted = RetryRequested(view="trail", **chosen)
        request = Request(
            wanted if kind == "retry" else SkipRequested(view="trail", reason="a test", **chosen),
            Meta(id=uuid7(), type="", source="", subject="", time=minute(0)),
            Position("dead-letters", 0, self._requests),
        )
        self._requests += 1
        store = TableStore(self._table, self._connection)
        mender = Mender(TRAIL, self._connection, store, self.memory, self.memory)
        self.memory.fails = fault
        for _ in range(2):
            try:
                await mender.do(request)
            except Unavailable:
                await mender.do(request)
        self.memory.fails = False

    async def trails(self) -> dict[str, str]:
        rows = await self._connection.execute("SELECT user_id, items FROM trail_v1")
        return {row["user_id"]: row["items"] async for row in rows}

    async def expected(self) -> dict[str, str]:
        """What was folded so far, one by one, without what stands aside and what was skipped."""
        aside = await self._connection.execute('SELECT "offset" FROM projection_parked')
        gone = await self._connection.execute('SELECT "offset" FROM projection_skipped')
        absent = {row["offset"] async for row in aside} | {row["offset"] async for row in gone}
        found: dict[str, list[str]] = {}
        for event in self.memory.events[: self.reached]:
            if event.position.offset not in absent:
                found.setdefault(event.event.user_id, []).append(event.event.item_id)
        return {user: " ".join(items) for user, items in found.items()}

    async def check(self) -> None:
        """Nothing is folded over a gap, and what stands aside is one poison event per key and all that follows it."""
        assert await self.trails() == await self.expected()
        rows = await self._connection.execute('SELECT key, role, "offset" FROM projection_parked ORDER BY "offset"')
        lines: dict[str, list[tuple[str, int]]] = {}
        async for row in rows:
            lines.setdefault(row["key"], []).append((row["role"], row["offset"]))
        for user, line in lines.items():
            assert [role for role, _ in line] == ["poison"] + ["waiting"] * (len(line) - 1)
            after = [e.position.offset for e in self.memory.events[line[0][1] : self.reached]
                     if e.event.user_id == user]  # fmt: skip
            assert [offset for _, offset in line] == after


async def test_the_read_model_is_the_fold_without_what_was_skipped(
    database: AsyncConnection[Any], settings: Settings
) -> None:
    """The promise of the whole machinery, for any history."""
    schema = settings.postgres.db_schema
    await database.execute("CREATE TABLE refused (item_id text)")
    await Table(TRAIL, schema).create(database)
    await Table(TRAIL, schema).stage_in(database)
    histories: list[list[Step]] = []

    @given(STEPS)
    @hypothesis_settings(
        max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    def collect(steps: list[Step]) -> None:
        histories.append(steps)

    collect()
    for steps in histories:
        world = World(database, schema)
        await world.begin()
        for step in steps:
            await _take(world, database, step)
            await world.check()
        await database.execute("DELETE FROM refused")
        while len(world.memory.events) > world.reached:
            await world.fold(5)
        await world.ask("retry", "all")
        await world.check()
        rows = await database.execute("SELECT key FROM projection_parked")
        assert await rows.fetchall() == []


async def _take(world: World, database: AsyncConnection[Any], step: Step) -> None:
    match step:
        case "events", (events, size):
            for user, item in events:
                world.memory.add(user, item)
            await world.fold(size)
        case ("retry" | "skip") as kind, which:
            await world.ask(kind, which)
        case "fault", kind:
            await world.ask(kind, "all", fault=True)
        case "mend", item:
            await database.execute("DELETE FROM refused WHERE item_id = %s", (item,))
        case _:
            await world.restart()
