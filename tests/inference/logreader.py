"""Reading a whole topic, as it stands now."""

from aiokafka import TopicPartition

from infra.kafka.consumer import make_consumer
from infra.kafka.records import from_aiokafka
from infra.kafka.topics import physical
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.envelope import Recorded


async def read_topic(settings: Settings, topic: str) -> list[Recorded]:
    """Every event of a topic that counts, partition by partition."""
    decoder = await open_decoder(settings)
    partitions = [TopicPartition(physical(settings, topic), p) for p in range(settings.kafka.partitions)]
    async with make_consumer(settings) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        found: list[Recorded] = []
        while any([await consumer.position(p) < ends[p] for p in partitions]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                raws = [from_aiokafka(r, settings.topic_prefix) for r in records]
                await decoder.learn(raws)
                found += [event for raw in raws if (event := decoder.decode(raw)) is not None]
        return found
