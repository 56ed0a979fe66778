"""Kept counts must be those that counting everything gives, or what was popular would be explained wrongly."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

import fsspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid6 import uuid7

import inference.explaining.counts
import inference.explaining.pieces
from inference.explaining.counts import Counts, Fold
from inference.explaining.pieces import Piece, Pieces
from infra.kafka.facts import FactWriter
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.interactions import InteractionRecorded

from .town import meta

SIZE = 16
ids = st.sampled_from([*(uuid5(NAMESPACE_URL, str(n)) for n in range(4)), *(uuid7() for _ in range(40))])
rows = st.lists(st.tuples(ids, st.sampled_from("ab"), st.sampled_from("xyz")), max_size=60)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference.explaining.counts, "SIZE", SIZE)


def table(events: list[tuple[UUID, str, str]], first: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "_offset": pl.Series(range(first, first + len(events)), dtype=pl.Int64),
            "_id": pl.Series([str(id) for id, _, _ in events], dtype=pl.String),
            "user_id": pl.Series([user for _, user, _ in events], dtype=pl.String),
            "item_id": pl.Series([item for _, _, item in events], dtype=pl.String),
        }
    )


def simply(events: list[tuple[UUID, str, str]]) -> Counter[str]:
    """What the read model does, as short as it can be said."""
    seen: set[tuple[UUID, str]] = set()
    counts: Counter[str] = Counter()
    for id, user, item in events:
        if id.version != 5 or (id, user) not in seen:
            seen.add((id, user))
            counts[item] += 1
    return counts


@given(events=rows, cut=st.integers(0, 60), pieces=st.integers(0, 4))
def test_pieces_add_up_to_the_whole(events: list[tuple[UUID, str, str]], cut: int, pieces: int) -> None:
    """However the answers of the broker are cut, and however many pieces are kept from before."""
    whole = Fold([])
    whole.add(table(events[:cut], 0))
    whole.add(table(events[cut:], len(events[:cut])))
    assert +whole.counts == simply(events)
    before = [Piece.parse(whole.piece(number).dump()) for number in range(pieces)]
    rest = Fold([np.sort(piece.chosen) for piece in before if len(piece.chosen)])
    rest.add(table(events[pieces * SIZE :], pieces * SIZE))
    kept: Counter[str] = Counter()
    for piece in before:
        kept.update(piece.counts)
    assert +(kept + rest.counts) == simply(events)


def test_a_damaged_piece_is_no_piece(tmp_path: Path) -> None:
    """One wrong digit would be believed for ever."""
    pieces = Pieces(Settings(artifacts=tmp_path.as_uri()))
    pieces.put(0, 0, Piece({"a": 7}, np.array([1], np.uint64), (3, "id")))
    assert pieces.get(0, 0, 1)[0].counts == {"a": 7}
    (file,) = tmp_path.glob("counts/*/*/*.json")
    whole = file.read_bytes()
    for damaged in (whole.replace(b"7", b"8"), whole[:-1], b""):
        file.write_bytes(damaged)
        assert pieces.get(0, 0, 1) == []


async def write(settings: Settings, decoder: Decoder, count: int, item: str) -> None:
    async with FactWriter(settings, decoder.codec) as writer:
        facts = [
            InteractionRecorded(user_id="ana", item_id=f"{item}{n % 3}", kind="view", occurred_at=datetime.now(UTC))
            for n in range(count)
        ]
        metas = [replace(meta(fact, "ana"), id=uuid5(NAMESPACE_URL, f"{item}{n % 10}")) for n, fact in enumerate(facts)]
        await writer.append_all(list(zip(facts, metas, strict=True)))
        await writer.append_all([(fact, meta(fact, "ana")) for fact in facts])


def files(settings: Settings) -> list[Path]:
    _, root = fsspec.core.url_to_fs(settings.artifact_url)
    return sorted(Path(root).glob("counts/*/*/*.json"))


async def test_what_was_counted_once_is_not_read_again(settings: Settings) -> None:
    """Kept, damaged, foreign or missing: the counts are the same; only how much is read differs."""
    decoder = await open_decoder(settings)

    async def counted(*, kept: bool = True) -> tuple[dict[str, int], int]:
        found = await Counts(settings, decoder).at(await ranges_now(settings, ["interactions"]), kept=kept)
        return found.items, sum(way.read for way in found.ways)

    await write(settings, decoder, 50, "i")
    true, everything = await counted(kept=False)
    assert true == {"i0": 21, "i1": 20, "i2": 19}
    assert everything == 100
    assert not files(settings)
    assert await counted() == (true, 100)
    assert len(files(settings)) == 6
    assert await counted() == (true, 4)
    files(settings)[2].write_bytes(b"nonsense")
    assert await counted() == (true, 100 - 2 * SIZE)
    foreign = Piece({"i0": 1000}, np.zeros(0, np.uint64), (3 * SIZE + 1, str(uuid7())))
    place = files(settings)[3]
    Pieces(settings).put(int(place.parent.name), int(place.stem), foreign)
    assert await counted() == (true, 100 - 3 * SIZE)
    await write(settings, decoder, 10, "j")
    more, read = await counted()
    assert more == (await counted(kept=False))[0]
    assert read < 40
