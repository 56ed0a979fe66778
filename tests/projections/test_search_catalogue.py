"""Finding items: by their words however they are spelt, by what they are, page by page, and by their meaning."""

from collections.abc import AsyncIterator

import pytest

from inference.sentences import embedder
from infra.kafka.facts import FactWriter
from infra.kafka.records import Decoder
from infra.settings import Settings
from projections.views import catalogue_search
from schemas.catalog import ItemChanged, ItemRetired
from schemas.embeddings import ItemEmbedded

from ..eventually import eventually
from ..roles import running
from .conftest import Get
from .running import StartProjector
from .searching import FILMS, decided, film, ids, querying
from .telling import Decided, meta_of


def vector_of(item_id: str) -> ItemEmbedded:
    """A vector by a model that no Triton has."""
    numbers = (1.0, *[0.0] * (catalogue_search.DIMENSIONS - 1))
    return ItemEmbedded(item_id=item_id, model="m", model_sha256="0" * 64, text_sha256="0" * 64, vector=numbers)


@pytest.fixture
async def log(settings: Settings, decoder: Decoder, projector: StartProjector) -> AsyncIterator[Decided]:
    """The films in the log, and their projection."""
    projector(catalogue_search.INDEX)
    async with decided(settings, decoder) as writer:
        yield writer


@pytest.fixture
async def films(log: Decided) -> str:
    """Positions of the films."""
    return ",".join([str(await log.append(film(*one))) for one in FILMS])


async def test_words_find_items_however_they_are_spelt(films: str, get: Get) -> None:
    """People mistype, leave out accents and remember half a title."""
    fresh = {"min-position": films, "wait": 30}
    status, exact, headers = await get("/items/search", q="toy story", **fresh)
    assert status == 200
    assert ids(exact)[:2] == ["f1"]
    assert "catalog/" in headers["x-position"]

    for q, first in [("godfahter", "f2"), ("amelie", "f3"), ("AMÉLIE", "f3"), ("cowby doll", "f1"), ("horror", "f4")]:
        found = (await get("/items/search", q=q))[1]
        assert ids(found)[:1] == [first], q
    assert ids((await get("/items/search", q="godfahter", typos="false"))[1]) == []
    assert (await get("/items/search", q="toy"))[1]["total"] == 2


async def test_without_vectors_words_decide_and_the_answer_says_why(films: str, get: Get) -> None:
    """An empty page would look like an empty catalogue."""
    _, found, _ = await get("/items/search", **{"q": "toy", "min-position": films, "wait": 30})
    assert found["ranking"] == "text"
    assert "retrace serve embedder" in found["ranking_reason"]
    _, asked, _ = await get("/items/search", q="toy", mode="text")
    assert (asked["ranking"], asked["ranking_reason"]) == ("text", None)


async def test_facets_count_what_each_choice_would_find(films: str, get: Get) -> None:
    """A chosen category may not hide the number behind its neighbours."""
    fresh = {"min-position": films, "wait": 30}
    _, found, _ = await get("/items/search", **{"category": "Comedy", "facet": "year", **fresh})
    assert ids(found) == ["f1", "f3"]
    assert found["total"] == 2
    counted = {one["category"]: one["items"] for one in found["categories"]}
    assert (counted["Comedy"], counted["Drama"]) == (2, 2)
    assert {one["value"]: one["items"] for one in found["facets"]["year"]} == {"1995": 1, "2001": 1}

    _, both, _ = await get("/items/search?category=Comedy&category=Horror&attribute=year:1979&attribute=year:2001")
    assert ids(both) == ["f3", "f4"]


async def test_what_does_not_exist_is_refused_by_name(films: str, get: Get) -> None:
    """A misspelt filter that is passed over finds everything."""
    fresh = {"min-position": films, "wait": 30}
    status, problem, _ = await get("/items/search", **{"attribute": "yaer:1995", **fresh})
    assert (status, problem["code"]) == (422, "unknown_filter")
    assert "tone, year" in problem["detail"]
    status, problem, _ = await get("/items/search", facet="studio")
    assert (status, problem["code"]) == (422, "unknown_filter")
    status, problem, _ = await get("/items/search", attribute="1995")
    assert (status, problem["code"]) == (422, "bad_filter")
    status, problem, _ = await get("/items/search", categroy="Comedy")
    assert status == 422
    assert "category" in problem["detail"]


async def test_pages_go_on_where_they_were_whatever_is_written(log: Decided, films: str, get: Get) -> None:
    """New items move every score; nobody sees an item twice or misses one because of it."""
    fresh = {"min-position": films, "wait": 30}
    _, one, _ = await get("/items/search", **{"q": "a", "limit": 1, **fresh})
    _, whole, _ = await get("/items/search", q="a", limit=100)
    assert len(ids(whole)) > 2

    for number in range(20):
        await log.append(film(f"n{number}", f"A {number}", "a a", ["Drama"], {}))
    at = await log.append(ItemRetired(item_id=ids(whole)[1]))
    await get("/items/search", **{"min-position": str(at), "wait": 30})

    seen, ranks, page = ids(one), [1], one
    while page["next"]:
        _, page, _ = await get("/items/search", q="a", limit=1, cursor=page["next"])
        seen += ids(page)
        ranks += [item["rank"] for item in page["items"]]
    assert seen == [item for item in ids(whole) if item != ids(whole)[1]]
    assert ranks == [1, *range(3, len(ids(whole)) + 1)]


async def test_a_list_without_words_goes_by_item_id_to_the_end(films: str, get: Get) -> None:
    """Browsing a category has no ranking and no bound."""
    fresh = {"min-position": films, "wait": 30}
    _, page, _ = await get("/items/search", **{"limit": 4, **fresh})
    seen = ids(page)
    assert (page["ranking"], page["total"]) == (None, 6)
    _, rest, _ = await get("/items/search", limit=4, cursor=page["next"])
    assert seen + ids(rest) == ["f1", "f2", "f3", "f4", "f5", "f6"]
    assert rest["next"] is None


async def test_a_cursor_is_good_for_its_own_search_alone(films: str, get: Get) -> None:
    """Taken to another search it would go on in the middle of nothing."""
    _, page, _ = await get("/items/search", **{"q": "toy", "limit": 1, "min-position": films, "wait": 30})
    for other in ({"q": "alien"}, {"q": "toy", "category": "Comedy"}, {"q": "toy", "mode": "text"}, {}):
        status, problem, _ = await get("/items/search", limit=1, cursor=page["next"], **other)
        assert (status, problem["code"]) == (422, "cursor_of_another_query")
    status, problem, _ = await get("/items/search", q="toy", cursor="rubbish")
    assert (status, problem["code"]) == (422, "bad_cursor")


async def test_titles_are_suggested_while_they_are_typed(log: Decided, films: str, get: Get) -> None:
    """From any word on, with a slip of the finger, and never one that is retired."""
    fresh = {"min-position": films, "wait": 30}
    for typed, wanted in [("toy st", "f1"), ("godf", "f2"), ("gdofa", "f2"), ("amel", "f3"), ("sto", "f1")]:
        status, found, _ = await get("/items/suggest", q=typed, **fresh)
        assert status == 200
        assert wanted in ids(found), typed

    at = await log.append(ItemRetired(item_id="f2"))
    await get("/items/search", **{"min-position": str(at), "wait": 30})
    assert ids((await get("/items/suggest", q="godf"))[1]) == []


async def test_a_meaning_finds_what_shares_no_word(settings: Settings, log: Decided, films: str) -> None:
    """Whoever looks for organised crime means the Godfather."""
    patient = settings.model_copy(update={"search": settings.search.model_copy(update={"timeout_ms": 10_000})})
    async with running(embedder.work, settings, "embedder"), querying(patient) as get:
        await get("/items/search", **{"min-position": films, "wait": 30})
        await eventually(lambda: _ranked_by(get, "mob boss and organised crime", "f2"), within_s=90)
        await eventually(lambda: _ranked_by(get, "extraterrestrial monster", "f4"))
        _, both, _ = await get("/items/search", q="extraterrestrial monster")
        assert (both["ranking"], both["ranking_reason"]) == ("hybrid", None)
        _, words, _ = await get("/items/search", q="extraterrestrial monster", mode="text")
        assert ids(words) == []
        _, kept, _ = await get("/items/search", q="extraterrestrial monster", category="Comedy")
        assert "f4" not in ids(kept)

        await log.append(ItemChanged(item_id="f6", title="Gardening", description="How to grow roses and herbs"))
        await eventually(lambda: _ranked_by(get, "flowers and plants", "f6"))


async def _ranked_by(get: Get, q: str, first: str) -> bool:
    return ids((await get("/items/search", q=q, mode="semantic"))[1])[:1] == [first]


async def test_words_decide_when_triton_is_away(
    settings: Settings, films: str, writer: FactWriter, log: Decided
) -> None:
    """A search that fails because one of its helpers is away would be the worse answer."""
    event = vector_of("f1")
    at = await writer.append(event, meta_of(event, "f1"))
    nowhere = settings.model_copy(update={"triton": settings.triton.model_copy(update={"grpc": ["127.0.0.1:9"]})})

    async with querying(nowhere) as get:
        fresh = {"min-position": f"{films},{at}", "wait": 30}
        status, found, headers = await get("/items/search", **{"q": "toy story", **fresh})
        assert (status, ids(found)[0], found["ranking"]) == (200, "f1", "text")
        assert "127.0.0.1:9" in found["ranking_reason"]
        assert "embeddings/" in headers["x-position"]
        assert ids((await get("/items/search", q="alien", mode="semantic"))[1]) == ["f4"]


async def test_a_changed_item_keeps_its_vector_and_loses_old_attributes(
    settings: Settings, films: str, writer: FactWriter, log: Decided, get: Get
) -> None:
    """Two topics make one document: neither may undo what the other said."""
    event = vector_of("f4")
    placed = await writer.append(event, meta_of(event, "f4"))
    at = await log.append(ItemChanged(item_id="f4", attributes={"year": "1980"}))
    fresh = {"min-position": f"{films},{placed},{at}", "wait": 30}

    _, found, _ = await get("/items/search", **{"attribute": "year:1980", **fresh})

    assert ids(found) == ["f4"]
    assert found["items"][0]["attributes"] == {"year": "1980"}
    _, meant, _ = await get("/items/search", q="anything")
    assert "retrace serve embedder" not in (meant["ranking_reason"] or "")
