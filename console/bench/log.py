"""Topics full of interactions and of items, to be projected and replayed by everybody."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

from uuid6 import uuid7

from console.bench import synthetic
from infra.kafka.append import Entry
from infra.kafka.decided import KafkaLog, batch_producer
from infra.kafka.facts import FactWriter
from infra.kafka.partitioner import partition_of
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.catalog import ItemAdded
from schemas.codec import Codec
from schemas.envelope import Meta
from schemas.interactions import InteractionRecorded
from schemas.topics import TOPICS

TOPIC, CATALOGUE = "interactions", "catalog"
AT_ONCE = 5_000
IN_ONE_BATCH = 500


async def filled(settings: Settings, count: int) -> Decoder:
    """Let the topic `interactions` hold so many events, and answer what reads them; whoever comes first fills it."""
    decoder = await open_decoder(settings)
    there = sum(part.end for part in await ranges_now(settings, [TOPIC]))
    events = islice(synthetic.interactions(count), there, None)
    async with FactWriter(settings, decoder.codec, linger_ms=5) as writer:
        while chunk := list(islice(events, AT_ONCE)):
            await writer.append_all([(event, meta_of(event)) for event in chunk])
    return decoder


async def filled_catalogue(settings: Settings, count: int) -> None:
    """Let the topic `catalog` hold the additions of so many items, as the processor would have written them."""
    decoder = await open_decoder(settings)
    parts = await ranges_now(settings, [CATALOGUE])
    if any(part.end for part in parts):
        return
    lines: dict[int, list[ItemAdded]] = {part.partition: [] for part in parts}
    for item in synthetic.items(count):
        lines[partition_of(item.item_id, len(parts))].append(item)
    async with batch_producer(settings) as producer:
        for partition, items in lines.items():
            log = KafkaLog(settings, producer, TOPICS[CATALOGUE], partition)
            for start in range(0, len(items), IN_ONE_BATCH):
                chunk = enumerate(items[start : start + IN_ONE_BATCH], start)
                await log.append([_entry(decoder.codec, item, offset) for offset, item in chunk])


def _entry(codec: Codec, item: ItemAdded, offset: int) -> Entry:
    command = replace(meta_of(item), type="retrace.catalog.AddItem")
    names = {"type": item.AVRO, "source": "retrace/bench"}
    headers = command.caused(0, **names, expected_offset=offset, command_offset=offset, version=1)
    return Entry(item.item_id.encode(), codec.encode(item), headers)


def meta_of(event: InteractionRecorded | ItemAdded) -> Meta:
    """What our command API writes around an interaction or a command."""
    return Meta(
        id=uuid7(),
        type=event.AVRO,
        source="retrace/bench",
        subject=event.user_id if isinstance(event, InteractionRecorded) else event.item_id,
        time=datetime.now(UTC),
        actor="bench",
        correlation_id=str(uuid7()),
    )
