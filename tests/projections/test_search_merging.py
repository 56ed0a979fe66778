"""Documents of two topics, on a real Elasticsearch: whatever comes twice, late, or from two writers at once."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch
from hypothesis import given
from hypothesis import strategies as st

from infra.elastic import index_name, make_elastic
from infra.settings import Settings
from projections.merging import SEEN, Merging, merged
from projections.shares import shares
from projections.view import Drop, Put
from schemas.position import Position

CATALOG = [(Put("i", {"title": f"t{n}", "a": n}), Position("catalog", 0, n)) for n in range(6)]
VECTORS = [(Put("i", {"vector": n}), Position("embeddings", 0, n)) for n in range(4)]
WHOLE = {"title": "t5", "a": 5, "vector": 3, SEEN: {"catalog": 5, "embeddings": 3}}


def nothing_wrong(result: Mapping[str, Any]) -> None:
    assert result["status"] < 300, result


@pytest.fixture
async def elastic(settings: Settings) -> AsyncIterator[AsyncElasticsearch]:
    async with make_elastic(settings) as client:
        yield client


@pytest.fixture
async def index(settings: Settings, elastic: AsyncElasticsearch) -> str:
    name = index_name(settings, "merged")
    await elastic.indices.create(
        index=name,
        mappings={"dynamic": False},
        settings={"number_of_replicas": 0, "refresh_interval": "50ms"},
    )
    return name


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=8))
def test_repeats_change_nothing(pieces: list[tuple[int, int]]) -> None:
    """After a crash a lane begins again at its checkpoint: any stretch of a topic may come again."""
    fields: Mapping[str, Any] = {}
    for start, length in [*pieces, (0, 6)]:
        for topic in (CATALOG, VECTORS):
            reached = dict(fields).get(SEEN, {}).get(topic[0][1].topic, -1) + 1
            first = min(start, reached)  # a lane repeats, but it leaves nothing out
            fields = merged(fields, topic[first : first + length]) or fields
    assert fields == WHOLE


def test_a_removed_document_remembers_what_it_has_seen() -> None:
    """Else a late repeat would bring it back."""
    gone = merged(None, [CATALOG[0], (Drop("i"), Position("catalog", 0, 1))])
    assert gone == {SEEN: {"catalog": 1}}
    assert merged(gone, [CATALOG[0]]) is None


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=40), st.integers(1, 9))
def test_every_document_is_in_one_part(documents: dict[str, int], worth_it: int) -> None:
    """Parts are written at once: a document in two of them would meet itself, one in none would be missing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("projections.shares.WORTH_IT", worth_it)
        parts = shares(documents)
    assert len(parts) == (2 if len(documents) >= 2 * worth_it else 1)
    assert sorted(one for part in parts for one in part.items()) == sorted(documents.items())


@pytest.mark.parametrize("count", [20, 1_100])
async def test_two_lanes_write_one_document_and_lose_nothing(
    elastic: AsyncElasticsearch, index: str, count: int
) -> None:
    """The catalogue's lane and the vectors' run side by side; so may an old projector that was thought dead."""
    names = [f"i{n}" for n in range(count)]

    async def lane(changes: Sequence[tuple[Put, Position]]) -> None:
        merging = Merging(elastic, index, is_alias=False, check=nothing_wrong)
        for change, position in changes:
            await merging.fold([(Put(name, change.fields), position) for name in names])

    await asyncio.gather(lane(CATALOG), lane(VECTORS), lane(CATALOG))

    found = await elastic.mget(index=index, ids=names)
    assert [document["_source"] for document in found["docs"]] == [WHOLE] * len(names)


async def test_a_vector_before_its_item_is_kept(elastic: AsyncElasticsearch, index: str) -> None:
    """Topics are read at their own pace."""
    merging = Merging(elastic, index, is_alias=False, check=nothing_wrong)
    await merging.fold(VECTORS)
    await merging.fold(CATALOG)
    assert (await elastic.get(index=index, id="i"))["_source"] == WHOLE
