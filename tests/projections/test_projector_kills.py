"""Projectors that are killed, paused and joined by others: after each of these the tables are what the log says."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from psycopg import AsyncConnection

from infra.kafka.connect import aiokafka_options
from infra.kafka.consumer import group_id
from infra.kafka.facts import FactWriter
from infra.settings import Settings, child_environment
from projections.rebuild import verify
from projections.runner import group_of
from projections.views import decisions_search, popularity, user_history
from schemas.interactions import InteractionRecorded

from ..eventually import eventually
from .samples import served
from .telling import meta_of, viewed

pytestmark = pytest.mark.long

Database = AsyncConnection[dict[str, Any]]
ZYGOTE = Path(__file__).with_name("zygote.py")
KILLS = 200
ITEMS = [f"i{number}" for number in range(7)]


class Nursery:
    """Starts projectors as processes, and ends those that are still there."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.alive: list[int] = []

    async def start(self, how: str) -> int:
        """A new projector; answers its process id."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{how}\n".encode())
        pid = int(await asyncio.wait_for(self._process.stdout.readline(), 60))
        self.alive.append(pid)
        return pid

    def kill(self, pid: int) -> None:
        """End one without a word."""
        os.kill(pid, signal.SIGKILL)
        self.alive.remove(pid)


@pytest.fixture
async def nursery(settings: Settings, tmp_path: Any) -> AsyncIterator[Nursery]:
    """Ready to start projectors."""
    with (tmp_path / "projectors.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, ZYGOTE),
            env=child_environment(settings) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
        assert process.stdout
        assert (await asyncio.wait_for(process.stdout.readline(), 120)).strip() == b"ready", "see projectors.log"
        opened = Nursery(process)
        try:
            yield opened
        finally:
            for pid in list(opened.alive):
                os.kill(pid, signal.SIGCONT)
                opened.kill(pid)
            process.kill()
            await process.wait()


@dataclass
class Log:
    """What was written to `interactions`, as the writer remembers it: the judge is no code of the projector's.

    Attributes:
        events: by partition and offset, with their ids.
    """

    writer: FactWriter
    chance: random.Random
    events: dict[tuple[int, int], tuple[InteractionRecorded, str]] = field(default_factory=dict)

    async def grow(self, count: int) -> None:
        """Write so many more events; every eighth may be a repeat of an earlier one."""
        facts = [(event, self._meta(event)) for event in self._made(count)]
        for (event, meta), at in zip(facts, await self.writer.append_all(facts), strict=True):
            self.events[at.partition, at.offset] = (event, str(meta.id))

    def _made(self, count: int) -> Sequence[InteractionRecorded]:
        return [viewed(f"u{self.chance.randrange(40)}", self.chance.choice(ITEMS)) for _ in range(count)]

    def _meta(self, event: InteractionRecorded) -> Any:
        meta = meta_of(event, event.user_id)
        if self.chance.random() > 0.125:
            return meta
        return replace(meta, id=uuid5(NAMESPACE_URL, f"{event.user_id}/{self.chance.randrange(20)}"))

    def folded(self, reached: dict[int, int]) -> tuple[Counter[str], set[tuple[int, int]]]:
        """Counts of items, and what stands in the history, for a fold that has reached these offsets."""
        counts: Counter[str] = Counter()
        kept: set[tuple[int, int]] = set()
        seen: set[tuple[str, str]] = set()
        for (partition, offset), (event, event_id) in sorted(self.events.items()):
            if offset < reached.get(partition, 0) and (event.user_id, event_id) not in seen:
                seen.add((event.user_id, event_id))
                counts[event.item_id] += 1
                kept.add((partition, offset))
        return counts, kept


@pytest.fixture
def log(writer: FactWriter) -> Log:
    """Empty."""
    return Log(writer, random.Random(11))


async def judge(database: Database, log: Log) -> int:
    """Compare both tables with what the log says at their checkpoints; answers how far the slower one is."""
    async with database.transaction():
        await database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        reached = {view: await _reached(database, view) for view in ("popularity", "user_history")}
        counts = await _rows(database, "SELECT item_id, interactions FROM popularity_v1")
        history = await _rows(database, 'SELECT partition, "offset" FROM user_history_v1')
    assert dict(counts) == log.folded(reached["popularity"])[0]
    assert sorted(history) == sorted(log.folded(reached["user_history"])[1])
    return min(sum(offsets.values()) for offsets in reached.values())


async def _reached(database: Database, view: str) -> dict[int, int]:
    where = f"view = '{view}' AND topic = 'interactions'"
    query = f"SELECT partition, next_offset FROM projection_offsets WHERE {where}"
    return dict(await _rows(database, query))


async def _rows(database: Database, query: str) -> list[tuple[Any, Any]]:
    rows = await (await database.execute(query.encode())).fetchall()
    return [(first, second) for first, second in (row.values() for row in rows)]


@asynccontextmanager
async def growing(log: Log) -> AsyncIterator[None]:
    """Events come meanwhile: a few at a time, and sometimes enough to be read as columns.

    What is being written at the end is written whole: of half of it nobody would know whether it is in the log.
    """
    stopped = asyncio.Event()

    async def grow() -> None:
        while not stopped.is_set():
            await log.grow(log.chance.choice([1, 5, 20, 20, 300]))
            await asyncio.sleep(0.02)

    task = asyncio.create_task(grow())
    try:
        yield
    finally:
        stopped.set()
        await task


async def caught_up(database: Database, log: Log) -> bool:
    """Whether both tables show everything."""
    return await judge(database, log) == len(log.events)


@pytest.mark.timeout(900)
async def test_killed_at_any_instruction_the_tables_are_what_the_log_says(
    settings: Settings, database: Database, writer: FactWriter, nursery: Nursery, log: Log
) -> None:
    """A checkpoint that is not in the transaction of its rows would be found here: by a skip, or by a repeat."""
    decisions = [served(f"d{number}") for number in range(60)]
    await writer.append_all([(event, meta_of(event, "ana")) for event in decisions])
    await nursery_ready(database, nursery, log)
    for _ in range(KILLS):
        pid = await nursery.start("whole")
        await log.grow(log.chance.choice([2, 10, 10, 40, 40, 300]))
        await asyncio.sleep(log.chance.uniform(0.0, 0.45))
        nursery.kill(pid)
        await judge(database, log)
    await nursery.start("whole")
    await eventually(lambda: caught_up(database, log), within_s=120)
    for projection in (user_history.VIEW, popularity.VIEW, decisions_search.INDEX):
        comparison = await verify(settings, projection)
        assert comparison.equal, comparison


async def nursery_ready(database: Database, nursery: Nursery, log: Log) -> None:
    """The tables are there."""
    await log.grow(10)
    pid = await nursery.start("whole")
    await eventually(lambda: _has(database, "popularity_v1"))
    await eventually(lambda: _has(database, "user_history_v1"))
    nursery.kill(pid)


async def _has(database: Database, table: str) -> bool:
    rows = await database.execute("SELECT to_regclass(%s) AS found", (table,))
    row = await rows.fetchone()
    return row is not None and row["found"] is not None


async def test_three_projectors_share_the_partitions(
    settings: Settings, database: Database, nursery: Nursery, log: Log
) -> None:
    """One is killed, one paused until its partitions have moved, one joins: nothing is lost or doubled."""
    await nursery_ready(database, nursery, log)
    first, second, third = [await nursery.start("share") for _ in range(3)]
    async with growing(log):
        await eventually(lambda: shared_by(settings, 3), within_s=60)
        os.kill(first, signal.SIGSTOP)
        nursery.kill(second)
        await eventually(lambda: shared_by(settings, 1), within_s=60)
        await judge(database, log)
        os.kill(first, signal.SIGCONT)
        await nursery.start("share")
        await eventually(lambda: shared_by(settings, 3), within_s=60)
        await judge(database, log)
    assert {first, third} < set(nursery.alive)
    await eventually(lambda: caught_up(database, log), within_s=60)
    for view in (user_history.VIEW, popularity.VIEW):
        comparison = await verify(settings, view)
        assert comparison.equal, comparison


async def shared_by(settings: Settings, number: int) -> bool:
    """Whether so many projectors have partitions, and between them every one."""
    admin = AIOKafkaAdminClient(**aiokafka_options(settings.kafka))
    await admin.start()
    try:
        (described,) = await admin.describe_consumer_groups([group_id(settings, group_of(settings))])
    except KafkaError:  # its coordinator is not there yet
        return False
    finally:
        await admin.close()
    (group,) = described.groups
    return group[2] == "Stable" and len(group[5]) == number
