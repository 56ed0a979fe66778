"""The same for Elasticsearch: its alias and our records do not commit together."""

from collections.abc import Awaitable, Callable

import orjson
import pytest
from uuid6 import uuid7

from infra.elastic import index_name, make_elastic
from infra.kafka.facts import FactWriter
from infra.settings import Settings
from projections import rebuild
from projections.attempt import Attempts
from projections.documents import Documents
from projections.testing import minute
from projections.view import Index
from projections.views import decisions_search
from schemas.envelope import Meta
from schemas.errors import Rejected

from .rebuilding import Database, reached
from .running import StartProjector
from .samples import served

pytestmark = pytest.mark.long


async def decide(writer: FactWriter, *numbers: int) -> None:
    events = [served(f"d{number}") for number in numbers]
    metas = [Meta(id=uuid7(), type=e.AVRO, source="test", subject=e.user_id, time=minute(0)) for e in events]
    await writer.append_all(list(zip(events, metas, strict=True)))


Indexed = Callable[[int], Awaitable[Index]]


@pytest.fixture
def indexed(database: Database, writer: FactWriter, projector: StartProjector) -> Indexed:
    """Lets a projector find so many decisions, and go on."""

    async def start(count: int) -> Index:
        projector(decisions_search.INDEX)
        await decide(writer, *range(count))
        await reached(database, decisions_search.INDEX, count)
        return decisions_search.INDEX

    return start


async def test_an_index_is_switched_and_rolled_back(
    settings: Settings, database: Database, writer: FactWriter, indexed: Indexed
) -> None:
    """The same for Elasticsearch: the alias moves, the old index is kept, and has what came since when it returns."""
    view = await indexed(20)
    async with make_elastic(settings) as client:
        await client.delete(index=index_name(settings, view.name), id="d3", refresh=True)
        attempt = await rebuild.rebuild(settings, view)
        comparison = attempt.comparison
        assert comparison is not None
        assert (comparison.live_rows, comparison.fresh_rows) == (19, 20)
        assert [(one.side, orjson.loads(one.row)["_id"]) for one in comparison.sample] == [("fresh", "d3")]
        await decide(writer, 20)
        await reached(database, view, 21)
        assert await _found(settings) == 21
        await rebuild.rollback(settings, view)
        assert await _found(settings) == 20
        await rebuild.switch(settings, view)
        assert (await rebuild.verify(settings, view)).equal
        await rebuild.retire(settings, view)
        assert len(await client.indices.get(index=index_name(settings, f"{view.physical}_*"))) == 1


async def test_an_alias_that_was_switched_by_a_killed_process_is_put_on_record(
    settings: Settings, database: Database, writer: FactWriter, indexed: Indexed
) -> None:
    """Elasticsearch and PostgreSQL do not commit together; the live index must never be cancelled away."""
    view = await indexed(5)
    attempt = await rebuild.rebuild(settings, view, switches=False)
    assert attempt.target is not None
    async with make_elastic(settings) as client:
        live = Documents(view, settings, client)
        await Attempts(database).set(attempt.id, counterpart=await live.live())
        await live.give_way(attempt.target)
    with pytest.raises(Rejected):
        await rebuild.cancel(settings, view)
    (found,) = await Attempts(database).all(view.name)
    assert found.state == "switched"
    await decide(writer, 5)
    await reached(database, view, 6)
    assert (await rebuild.rollback(settings, view)).state == "rolled_back"
    assert (await rebuild.verify(settings, view)).equal


async def test_a_cancelled_rebuild_leaves_no_index(
    settings: Settings, database: Database, writer: FactWriter, indexed: Indexed
) -> None:
    """As in PostgreSQL."""
    view = await indexed(5)
    await rebuild.rebuild(settings, view, switches=False)
    await rebuild.cancel(settings, view)
    async with make_elastic(settings) as client:
        assert len(await client.indices.get(index=index_name(settings, f"{view.physical}_*"))) == 1
    assert await _found(settings) == 5


async def _found(settings: Settings) -> int:
    async with make_elastic(settings) as client:
        answer = await client.count(index=index_name(settings, decisions_search.INDEX.name))
        return int(answer["count"])
