"""The embedder for real: every text gets its vector once, whatever goes away meanwhile."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from uuid6 import uuid7

from inference.sentences import embedder
from inference.sentences.repository import DIMENSIONS, sentence_model
from inference.sentences.vectors import sha256_of
from infra.health import Health
from infra.kafka.facts import FactWriter
from infra.kafka.partitioner import partition_of
from infra.kafka.records import Decoder
from infra.registry.enlist import open_decoder
from infra.sentences import Sentences
from infra.settings import Settings
from schemas.catalog import ItemAdded, ItemChanged, ItemRetired
from schemas.embeddings import ItemEmbedded
from schemas.envelope import Meta, Recorded
from schemas.errors import NotFound, Unavailable
from schemas.identity import derived

from ..eventually import eventually
from ..roles import running
from .logreader import read_topic
from .town import free_port


class Catalogue:
    """The only writer of the catalogue's topic."""

    def __init__(self, settings: Settings, writer: FactWriter) -> None:
        self._partitions = settings.kafka.partitions
        self._writer = writer
        self._ends: Counter[int] = Counter()

    async def append(self, event: Any) -> Meta:
        """Write one event where it is expected to stand; what it says of itself."""
        partition = partition_of(event.item_id, self._partitions)
        said = Meta(
            id=uuid7(),
            type=event.AVRO,
            source="test",
            subject=event.item_id,
            time=datetime.now(UTC),
            correlation_id="c",
            expected_offset=self._ends[partition],
        )
        await self._writer.append(event, said)
        self._ends[partition] += 1
        return said


@pytest.fixture
async def decoder(settings: Settings) -> Decoder:
    return await open_decoder(settings)


@pytest.fixture
async def catalogue(settings: Settings, decoder: Decoder) -> AsyncIterator[Catalogue]:
    async with FactWriter(settings, decoder.codec) as writer:
        yield Catalogue(settings, writer)


def embedding(settings: Settings) -> AbstractAsyncContextManager[Health]:
    """The role, until the block ends."""
    return running(embedder.work, settings, "embedder")


async def vectors(settings: Settings, at_least: int) -> list[Recorded]:
    """The vectors on the log, as soon as there are so many."""

    async def enough() -> list[Recorded] | None:
        found = await read_topic(settings, "embeddings")
        return found if len({one.meta.id for one in found}) >= at_least else None

    return await eventually(enough, within_s=60, every_s=0.2)


async def test_a_text_gets_the_vector_that_triton_gives(settings: Settings, catalogue: Catalogue) -> None:
    """What stands on the log can be made again, by who names the model and the text."""
    cause = await catalogue.append(
        ItemAdded(item_id="i1", title="Alien", description="A creature", categories=("Horror",))
    )
    async with embedding(settings):
        (found,) = await vectors(settings, 1)

    event, model = found.event, sentence_model(settings)
    assert isinstance(event, ItemEmbedded)
    assert (event.item_id, event.model_sha256) == ("i1", model.sha256)
    assert event.text_sha256 == sha256_of("Alien. A creature. Horror")
    assert (str(found.meta.id), found.meta.causation_id) == (derived(cause.id, model.sha256), str(cause.id))
    assert found.meta.correlation_id == "c"
    async with Sentences(settings.triton.grpc) as sentences:
        (again,) = await sentences.vectors(model.served_as, ["Alien. A creature. Horror"], 60)
    assert list(event.vector) == again
    assert len(again) == DIMENSIONS
    assert np.linalg.norm(again) == pytest.approx(1, abs=1e-5)


async def test_started_again_it_says_nothing_twice(settings: Settings, catalogue: Catalogue) -> None:
    """It keeps nothing: the log says what is done."""
    for number in range(20):
        await catalogue.append(ItemAdded(item_id=f"i{number}", title=f"Film {number}"))
    for at_least in (1, 9, 20):  # ended at any moment, in the middle of its work too
        async with embedding(settings):
            await vectors(settings, at_least)
    await catalogue.append(ItemAdded(item_id="last", title="Last"))
    async with embedding(settings):
        found = await vectors(settings, 21)

    distinct = {one.meta.id for one in found}
    assert {one.event.item_id for one in found} == {"last", *(f"i{n}" for n in range(20))}
    assert len(distinct) == 21


async def test_a_changed_text_gets_a_new_vector_and_another_change_none(
    settings: Settings, catalogue: Catalogue
) -> None:
    """A vector stands for a text: attributes are none, and a retired item needs none."""
    await catalogue.append(ItemAdded(item_id="i1", title="Roses"))
    await catalogue.append(ItemAdded(item_id="gone", title="Gone"))
    await catalogue.append(ItemRetired(item_id="gone"))
    async with embedding(settings):
        await vectors(settings, 1)
        await catalogue.append(ItemChanged(item_id="i1", attributes={"year": "1995"}))
        await catalogue.append(ItemChanged(item_id="i1", title="Tanks"))
        await vectors(settings, 2)
        await catalogue.append(ItemAdded(item_id="end", title="End"))
        found = await vectors(settings, 3)

    assert [one.event.text_sha256 for one in found if one.event.item_id == "i1"] == [
        sha256_of("Roses"),
        sha256_of("Tanks"),
    ]
    assert {one.event.item_id for one in found} == {"i1", "end"}


async def test_it_waits_for_triton_and_says_so(settings: Settings, catalogue: Catalogue) -> None:
    """Nothing is skipped while the server is away, and health tells the cause."""
    await catalogue.append(ItemAdded(item_id="i1", title="Alien"))
    nowhere = settings.model_copy(
        update={"triton": settings.triton.model_copy(update={"grpc": [f"127.0.0.1:{free_port()}"]})}
    )
    async with embedding(nowhere) as health:

        async def red() -> bool | None:
            part = health.components.get("triton")
            return True if part is not None and not part.ok and "Triton at 127.0.0.1" in part.cause else None

        await eventually(red)
        assert not health.ready
    assert await read_topic(settings, "embeddings") == []
    async with embedding(settings) as health:
        await vectors(settings, 1)
        await eventually(lambda: ready(health))


async def ready(health: Health) -> bool:
    return health.ready


async def test_a_missing_model_is_named(settings: Settings) -> None:
    """Who names a file of their own should learn that it is not there."""
    other = settings.search.model_copy(update={"sentence_model": settings.data_dir / "none.onnx"})
    with pytest.raises(Unavailable, match=r"none\.onnx"):
        sentence_model(settings.model_copy(update={"search": other}))


async def test_a_text_of_any_kind_has_a_vector(settings: Settings, catalogue: Catalogue) -> None:
    """Items come from everywhere: empty, long, in other scripts."""
    await catalogue.append(ItemAdded(item_id="i1", title="warm up"))
    async with embedding(settings):
        await vectors(settings, 1)
    texts = ["", " ", "東京物語", "🚀🚀", "x" * 5000, "word " * 2000, "\x00\u0301"]
    async with Sentences(settings.triton.grpc) as sentences:
        found = await sentences.vectors(sentence_model(settings).served_as, texts, 60)
        alone = [(await sentences.vectors(sentence_model(settings).served_as, [one], 60))[0] for one in texts]
        with pytest.raises(NotFound):
            await sentences.vectors("sentences-unknown", ["a"], 60)
    assert found == alone  # whoever else asks at that moment changes no bit
    assert all(np.isfinite(one).all() and len(one) == DIMENSIONS for one in found)
