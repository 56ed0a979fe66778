"""What is kept of the log, on the real servers: damaged, foreign, missing or half written, it changes no count."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import fsspec
import pytest

import inference.counting.gists
from inference.counting.gist import Gist
from inference.counting.gists import Gists
from inference.counting.kept import Kept
from inference.counting.near import Row
from inference.counting.scratch import rows_of, silence
from inference.counting.worker import counted_so_far
from inference.explaining.explain import Explainer, Explanation
from inference.explaining.followers import Followers
from inference.explaining.whatif import WhatIf
from infra.kafka.facts import FactWriter
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.postgres import connect
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment
from schemas.catalog import AddItem
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import EraseUser, GiveConsent, RegisterUser, WithdrawConsent

from ..eventually import eventually
from .countsmall import SIZE
from .test_explain import explained
from .town import ROOT, meta, open_town

pytestmark = pytest.mark.long

ITEMS = [f"i{number}" for number in range(8)]
TOPICS = ("interactions", "profiles")


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference.counting.gists, "SIZE", SIZE)


async def write(settings: Settings, decoder: Decoder, count: int, seed: int) -> None:
    """Interactions of few people; some happened earlier than they come, and some ids come again."""
    chance, now = random.Random(seed), datetime.now(UTC)
    facts = []
    for number in range(count):
        fact = InteractionRecorded(
            user_id=f"u{chance.randrange(5)}",
            item_id=chance.choice(ITEMS),
            kind=chance.choice(["view", "view", "skip"]),
            occurred_at=now + timedelta(seconds=number - chance.choice([0, 0, 0, 30])),
        )
        said = meta(fact, fact.user_id)
        facts.append((fact, replace(said, id=uuid5(NAMESPACE_URL, str(number // 2))) if number % 5 == 0 else said))
    async with FactWriter(settings, decoder.codec) as writer:
        await writer.append_all(facts)


def files(settings: Settings) -> list[Path]:
    _, root = fsspec.core.url_to_fs(settings.artifact_url)
    return sorted(Path(root).glob("histories/*/*/*/*.arrow"))


async def counted_anew(settings: Settings, decoder: Decoder, ranges: list[OffsetRange]) -> dict[str, Row]:
    silent = await silence(settings, decoder, [r for r in ranges if r.topic == "profiles"])
    meetings = [r for r in ranges if r.topic == "interactions"]
    return await rows_of(settings, decoder, meetings, ITEMS, silent=silent.users)


async def test_what_is_kept_changes_no_count(settings: Settings) -> None:
    """Kept, damaged, foreign or missing: the counts are those of the log; only how much is read differs."""
    decoder = await open_decoder(settings)
    await write(settings, decoder, 400, 1)
    ranges = await ranges_now(settings, TOPICS)

    async def counted() -> tuple[dict[str, Row], int]:
        found = await Followers(settings, decoder).at(ranges, ITEMS)
        return found.rows, sum(way.read for way in found.ways)

    true = await counted_anew(settings, decoder, ranges)
    assert len(true) == len(ITEMS)
    rest = sum(part.end % SIZE for part in ranges)
    assert await counted() == (true, 400)
    assert len(files(settings)) == (400 - rest) // SIZE
    assert await counted() == (true, rest)

    one, two, three, four = (*files(settings)[:3], files(settings)[-1])
    one.write_bytes(b"nonsense")
    two.unlink()
    whole = three.read_bytes()
    three.write_bytes(whole[: len(whole) // 2])
    four.write_bytes(whole)  # of another place
    assert await counted() == (true, rest + 4 * SIZE)
    assert await counted() == (true, rest)

    place = files(settings)[0]
    content = place.read_bytes().partition(b"\n")[2]
    foreign = Gist(Gist.parse(content).table.slice(0, 3), (SIZE - 1, "01a1fc5f-5f15-7794-a525-9816738f4960"))
    Kept(settings, "histories", ".arrow").put(
        f"interactions/{place.parent.name}", int(place.stem), foreign.dump()
    )  # whole, but not of this log
    assert await counted() == (true, rest + SIZE)


async def test_an_answer_of_any_age_is_counted(settings: Settings) -> None:
    """The counts of a moment long ago are those of then, and those of now are not read twice."""
    decoder = await open_decoder(settings)
    followers = Followers(settings, decoder)
    moments = []
    for number in range(4):
        await write(settings, decoder, 90, number)
        moments.append(await ranges_now(settings, TOPICS))
    for ranges in (moments[1], moments[3], moments[0], moments[2]):
        found = await followers.at(ranges, ITEMS)
        assert found.rows == await counted_anew(settings, decoder, ranges)
    again = await followers.at(moments[3], ITEMS)
    assert sum(way.read for way in again.ways) == 0
    together = await asyncio.gather(*(Followers(settings, decoder).at(moment, ITEMS) for moment in moments))
    assert [one.rows for one in together] == [await counted_anew(settings, decoder, moment) for moment in moments]


def same(one: Explanation, other: Explanation) -> None:
    assert one.identical, one.differences
    assert one.remade == other.remade
    assert one.hypothesis == other.hypothesis


async def test_an_explanation_from_kept_gists_is_that_of_a_scan(settings: Settings) -> None:
    """Consent withdrawn and given again, an erasure, a supposition: bit for bit what reading everything gives."""
    async with open_town(settings) as town:
        for item in ITEMS:
            await town.send(AddItem(item_id=item, title=item, categories=("film",)))
        decoder = await open_decoder(town.settings)
        await write(town.settings, decoder, 300, 3)
        await town.send(RegisterUser(user_id="u1"))
        await town.send(WithdrawConsent(user_id="u1", purpose="training"))
        await town.start("counter", "serving")
        await town.interact("zoe", "i0", "i1")
        answers = [await town.answers("zoe", lambda a: a["source"] == "co_occurrence")]
        await town.send(GiveConsent(user_id="u1", purpose="training"))
        await town.send(EraseUser(user_id="u2", reason="asked"))
        await town.interact("zoe", "i2")
        await write(town.settings, decoder, 100, 4)
        before = answers[0]["items"]
        answers.append(await town.answers("zoe", lambda a: a["source"] == "co_occurrence" and a["items"] != before))
        for answer in answers:
            await explained(town, answer["decision_id"])
        without = WhatIf(without=("item:i0",))
        for damage in range(3):
            explainer = Explainer(town.settings, decoder)
            for answer in answers:
                id = answer["decision_id"]
                same(await explainer.explain(id, without), await explainer.explain(id, without, indexed=False))
            assert files(town.settings)
            for file in files(town.settings):
                file.unlink() if damage else file.write_bytes(file.read_bytes()[:-1])


@asynccontextmanager
async def counter(settings: Settings) -> AsyncIterator[None]:
    """A counter that is killed when the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("countsmall.py"))),
        env=child_environment(settings) | {"PYTHONPATH": str(ROOT)},
    )
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()


async def test_a_killed_counter_goes_on_from_what_it_kept(settings: Settings) -> None:
    """Ended by kill -9 while it counts and keeps, over and over: what it then holds is what the log gives."""
    decoder = await open_decoder(settings)
    await write(settings, decoder, 200, 1)
    chance = random.Random(5)
    for number in range(4):
        async with counter(settings):
            await eventually(lambda: has_kept(settings, 3 + 6 * number), 120)  # noqa: B023
            await write(settings, decoder, 100, 10 + number)
            await asyncio.sleep(chance.random() / 2)
    await write(settings, decoder, 30, 20)
    async with counter(settings):
        ranges = await ranges_now(settings, TOPICS)
        await eventually(lambda: reached(settings, ranges), 120)
        held = await table(settings)
    assert held == await counted_anew(settings, decoder, ranges)
    gists = Gists(settings, decoder)
    assert sum(told.read for told in await gists.of(ranges)) < 630 // 2
    fold, _ = await counted_so_far(gists, ranges)
    assert {item: fold.kept(item) for item in held} == held


async def has_kept(settings: Settings, pieces: int) -> bool:
    return len(files(settings)) >= pieces


async def reached(settings: Settings, ranges: list[OffsetRange]) -> bool:
    async with await connect(settings, "test") as connection:
        rows = await (
            await connection.execute("SELECT topic, partition, next_offset FROM co_occurrence_offsets")
        ).fetchall()
    return {(r["topic"], r["partition"]): r["next_offset"] for r in rows} == {
        (r.topic, r.partition): r.end for r in ranges
    }


async def table(settings: Settings) -> dict[str, Row]:
    async with await connect(settings, "test") as connection:
        rows = await (await connection.execute("SELECT item_id, total, others, counts FROM co_occurrence")).fetchall()
    return {r["item_id"]: Row(r["total"], tuple(zip(r["others"], r["counts"], strict=True))) for r in rows}
