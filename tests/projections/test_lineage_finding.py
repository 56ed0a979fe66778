"""An index and a reading of the whole log find the same: lineage must not depend on how far a read model stands."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid5

import polars as pl
import pytest
from psycopg import AsyncConnection
from uuid6 import uuid7

import infra.index.reading
from infra.ending import ended
from infra.health import Health
from infra.kafka.facts import FactWriter
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.settings import Settings
from projections import runner
from projections.lineage.context import Context, read_by
from projections.lineage.finding import Finder
from projections.lineage.judge import INTERACTIONS, Matter, Recipe, judge
from projections.testing import minute
from projections.views import event_index, item_index
from schemas.envelope import Meta
from schemas.errors import Invalid
from schemas.identity import derived_id
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange

from ..console.logged import consent
from ..eventually import eventually

Database = AsyncConnection[dict[str, Any]]
Ask = Callable[[Finder, list[OffsetRange]], Awaitable[Matter]]

REACHED = "SELECT view, sum(next_offset)::int AS at FROM projection_offsets WHERE topic = 'interactions' GROUP BY view"
ASKED: dict[str, Ask] = {
    "user": lambda finder, ranges: finder.of_user("u1", ranges),
    "a user who did nothing": lambda finder, ranges: finder.of_user("nobody", ranges),
    "item": lambda finder, ranges: finder.of_item("rare", ranges),
    "an item of all users": lambda finder, ranges: finder.of_item("i3", ranges),
    "an item that nobody met": lambda finder, ranges: finder.of_item("nothing", ranges),
    "request": lambda finder, ranges: finder.of_request("upload-1", ranges),
    "range": lambda finder, ranges: finder.of_range(replace(ranges[0], first=3, end=9), ranges),
}


async def write(settings: Settings, decoder: Decoder, count: int, start: int = 0) -> None:
    """Interactions of some users with a few items, one of them rare; some ids are chosen by clients and come twice."""
    facts = []
    for n in range(start, start + count):
        item = "rare" if n % 97 == 5 else f"i{n % 11}"
        event = InteractionRecorded(user_id=f"u{n % 23}", item_id=item, kind="view", occurred_at=minute(n))
        chosen = uuid5(derived_id("t", "k"), f"{event.user_id} {n % 60}")
        meta = Meta(
            id=chosen if n % 4 == 1 else uuid7(),
            type=event.AVRO,
            source="test",
            subject=event.user_id,
            time=minute(n),
            tenant="elsewhere" if n % 50 == 7 else settings.tenant,
            correlation_id="upload-1" if n % 70 == 0 else "",
        )
        facts.append((event, meta))
    async with FactWriter(settings, decoder.codec, linger_ms=2, timeout_s=60) as writer:
        for first in range(0, count, 40):
            await writer.append_all(facts[first : first + 40])


@contextlib.asynccontextmanager
async def indexes(settings: Settings, database: Database) -> AsyncIterator[None]:
    """Both, folded up to the end of the log, and no further once this has ended."""
    views = [event_index.VIEW, item_index.VIEW]
    task = asyncio.create_task(runner.run(settings, Health("projector"), views))
    total = sum(part.end for part in await ranges_now(settings, [INTERACTIONS]))

    async def there() -> bool:
        found = {row["view"]: row["at"] async for row in await database.execute(REACHED)}
        return found == {view.name: total for view in views}

    try:
        await eventually(there)
        yield
    finally:
        await ended(task)


def values(matter: Matter) -> list[list[tuple[Any, ...]]]:
    """What was found, whatever its order."""
    return [sorted(frame.rows()) for frame in (matter.rows, matter.repeats, matter.words)]


async def both(settings: Settings, ask: Ask) -> Matter:
    """What the indexes find, after seeing that it is what the log has."""
    ranges = await ranges_now(settings, [INTERACTIONS])
    found = await ask(Finder(settings), ranges)
    read = await ask(Finder(settings, indexed=False), ranges)
    assert values(found) == values(read)
    recipe = Recipe((*ranges, *await ranges_now(settings, ["profiles"])), (), ())
    assert judge(recipe, found) == judge(recipe, read)
    return found


async def test_by_index_and_by_the_log_the_same_is_found(
    settings: Settings, decoder: Decoder, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the index reaches, behind its end, among another tenant's events; and it really is what was used."""
    monkeypatch.setattr(infra.index.reading, "WORTH", 0)
    monkeypatch.setattr(infra.index.reading, "SHORTEST", 0)
    await write(settings, decoder, 1_500)
    consent(settings, decoder, 20)
    async with indexes(settings, database):
        found = {name: await both(settings, ask) for name, ask in ASKED.items()}
    assert all(len(found[name].rows) for name in ("user", "item", "an item of all users", "request", "range"))
    assert len(found["user"].words) > 5
    assert len(found["user"].repeats) > len(found["user"].repeats["_id"].unique())
    for name in ("user", "item"):
        assert sum(way.indexed for way in found[name].ways if way.topic == INTERACTIONS) > 100, name
    await write(settings, decoder, 200, 1_500)  # which no index knows
    later = {name: await both(settings, ask) for name, ask in ASKED.items()}
    assert len(later["item"].rows) > len(found["item"].rows)


async def test_without_an_index_the_log_is_read_and_the_answer_says_so(
    settings: Settings, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A projector that does not run costs time and no truth."""
    await write(settings, decoder, 300)
    await asyncio.gather(*(both(settings, ask) for ask in ASKED.values()))
    ranges = await ranges_now(settings, [INTERACTIONS])
    busy = max(ranges, key=lambda part: part.end)
    matter = await Finder(settings).of_item("rare", [busy])
    assert {way.why for way in matter.ways if way.topic == INTERACTIONS} == {"the part is short"}
    monkeypatch.setattr(infra.index.reading, "SHORTEST", 0)
    matter = await Finder(settings).of_item("rare", [busy])
    assert "the read model item_index does not answer" in {way.why for way in matter.ways}


async def test_a_range_of_profiles_is_found_by_who_has_read_it(settings: Settings, decoder: Decoder) -> None:
    """A bad batch of consent has touched the runs that read it, and no others."""
    consent(settings, decoder, 20)
    (part,) = [one for one in await ranges_now(settings, ["profiles"]) if one.end]
    context = await Finder(settings).of_context(part)
    counted = len(context.rows)
    assert 0 < counted < 20, "what stands where it was not expected does not count"
    half = replace(part, end=10)
    verdict = read_by(Recipe((half,), (), ()), (), context)
    assert (verdict.rows, verdict.users) == (len(context.rows.filter(pl.col("_offset") < 10)), 1)
    assert verdict.left_out == {"outside": counted - verdict.rows}
    assert (verdict.first or "").startswith(f"profiles/{part.partition}/")
    with pytest.raises(Invalid, match="no dataset reads decisions"):
        await Finder(settings).of_context(OffsetRange(topic="decisions", partition=0, first=0, end=0))


def events(*words: str | None) -> pl.DataFrame:
    rows = [(0, offset, f"u{offset}", word) for offset, word in enumerate(words)]
    return pl.DataFrame(
        rows, schema={"_partition": pl.Int32, "_offset": pl.Int64, "about": pl.String, "word": pl.String}, orient="row"
    )


def test_what_a_run_reads_of_profiles_depends_on_what_it_was_for() -> None:
    """Consent as far as its ranges, erasures as far as it looked, and all else only for features."""
    part = OffsetRange(topic="profiles", partition=0, first=0, end=4)
    looked = replace(part, end=6)
    context = Context("profiles", events("withdrawn", None, "erased", "given", "given", "erased", "erased"))
    plain = read_by(Recipe((part,), (looked,), ()), (), context)
    assert (plain.rows, plain.left_out) == (4, {"outside": 1, "silent": 2})
    assert (plain.first, plain.last) == ("profiles/0/0", "profiles/0/5")
    featured = read_by(Recipe((part,), (looked,), ()), (part,), context)
    assert (featured.rows, featured.left_out) == (5, {"outside": 1, "silent": 1})
    assert read_by(Recipe((), (), ()), (), context).left_out == {"outside": 7}


def test_a_run_reads_the_catalogue_for_filters_and_features_alone() -> None:
    """Where neither asked for it, no range of the catalogue is on record, and nothing was read."""
    part = OffsetRange(topic="catalog", partition=0, first=1, end=3)
    context = Context("catalog", events(None, None, None))
    assert read_by(Recipe((), (), ()), (), context).rows == 0
    for verdict in (read_by(Recipe((part,), (), ()), (), context), read_by(Recipe((), (), ()), (part,), context)):
        assert (verdict.rows, verdict.users, verdict.items) == (2, 0, 2)
