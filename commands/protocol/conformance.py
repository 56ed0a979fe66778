"""What a log has to promise to be written by offset-checked appends, as tests for any implementation.

Make a subclass with a fixture `log` that yields an empty partition, and let pytest collect it:

    class TestMyLog(LogConformance):
        @pytest.fixture
        async def log(self) -> AsyncIterator[DecidedLog]: ...
"""

import asyncio
from collections.abc import Sequence

from commands.protocol.log import DecidedLog
from infra.kafka.append import Entry, Landed
from infra.kafka.records import Raw
from schemas.envelope import EXPECTED_OFFSET

MANY = 400


class LogConformance:
    """Everything that the protocol relies on, one promise after another."""

    async def test_a_batch_lands_at_the_end(self, log: DecidedLog) -> None:
        """A writer knows from the answer whether its condition held."""
        assert await log.append(batch("a", 3, at=0)) == Landed(0)
        assert await log.append(batch("b", 2, at=3)) == Landed(3)

    async def test_what_was_acknowledged_is_read_where_it_landed(self, log: DecidedLog) -> None:
        """Bytes, keys, headers and offsets: every reader folds the same."""
        written = [*batch("a", 3, at=0), *batch("b", 2, at=3)]
        await log.append(written[:3])
        await log.append(written[3:])
        records = await every(log)
        assert [raw.offset for raw in records] == [0, 1, 2, 3, 4]
        assert [(raw.key.encode(), raw.value) for raw in records] == [(entry.key, entry.value) for entry in written]
        assert [dict(raw.headers) for raw in records] == [dict(entry.headers) for entry in written]
        assert all(raw.counts for raw in records)

    async def test_a_batch_with_a_stale_condition_lands_and_is_void(self, log: DecidedLog) -> None:
        """The log takes it; its writer is told another offset, and no reader takes it for an event."""
        await log.append(batch("a", 2, at=0))
        assert await log.append(batch("late", 2, at=0)) == Landed(2)
        assert [raw.counts for raw in await every(log)] == [True, True, False, False]

    async def test_of_two_writers_at_once_one_counts(self, log: DecidedLog) -> None:
        """The whole point: both decided on the same state, and one of them may have."""
        await log.append(batch("before", 1, at=0))
        answers = await asyncio.gather(log.append(batch("a", 2, at=1)), log.append(batch("b", 2, at=1)))
        assert sorted(answer.offset for answer in answers if isinstance(answer, Landed)) == [1, 3]
        counted = [raw.key for raw in await every(log) if raw.counts]
        assert counted in (["before", "a", "a"], ["before", "b", "b"])

    async def test_a_batch_stands_together(self, log: DecidedLog) -> None:
        """Half a batch, or one with another between its records, would be half a decision."""
        sizes = [1, 5, 2, 4, 3] * 4
        await asyncio.gather(*(log.append(batch(f"w{n}", size, at=0)) for n, size in enumerate(sizes)))
        keys = [raw.key for raw in await every(log)]
        runs = [key for index, key in enumerate(keys) if index == 0 or keys[index - 1] != key]
        assert len(keys) == sum(sizes)
        assert sorted(runs) == sorted({f"w{n}" for n in range(len(sizes))})

    async def test_pages_leave_nothing_out(self, log: DecidedLog) -> None:
        """A reader goes from page to page until it is at the end, and knows when it is."""
        for start in range(0, MANY, 50):
            await log.append(batch("a", 50, at=start))
        assert [raw.offset for raw in await every(log)] == list(range(MANY))
        assert [raw.offset for raw in await every(log, MANY - 3)] == [MANY - 3, MANY - 2, MANY - 1]
        page = await log.read(MANY)
        assert (list(page.records), page.next_offset, page.at_end) == ([], MANY, True)

    async def test_an_empty_log_is_at_its_end(self, log: DecidedLog) -> None:
        """The first writer must not wait for something to read."""
        page = await log.read(0)
        assert (list(page.records), page.next_offset, page.at_end) == ([], 0, True)

    async def test_what_is_read_later_is_there_still(self, log: DecidedLog) -> None:
        """A closed log is opened again by reading; nothing is ever taken away."""
        await log.append(batch("a", 2, at=0))
        before = await every(log)
        await log.close()
        assert [(raw.offset, raw.value) for raw in await every(log)] == [(raw.offset, raw.value) for raw in before]


def batch(key: str, size: int, *, at: int) -> list[Entry]:
    """Records whose writer expects the first one to stand at `at`."""
    return [
        Entry(key.encode(), f"{key}-{index}".encode(), [(EXPECTED_OFFSET, str(at + index).encode())])
        for index in range(size)
    ]


async def every(log: DecidedLog, start: int = 0) -> Sequence[Raw]:
    """All records from `start`."""
    records: list[Raw] = []
    at_end = False
    while not at_end:
        page = await log.read(start)
        records += page.records
        start, at_end = page.next_offset, page.at_end
    return records
