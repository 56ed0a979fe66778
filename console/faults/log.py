"""Reading what a campaign left in the log, from the headers alone: the rule needs nothing else."""

from collections.abc import AsyncIterator

from commands.protocol.state import is_outcome
from console.faults.history import Effect
from infra.kafka.decided import KafkaLog, batch_producer
from infra.kafka.records import Raw
from infra.settings import Settings
from schemas.topics import TOPICS


async def profiles(settings: Settings) -> AsyncIterator[Effect]:
    """Every record of the topic, partition by partition, void ones too.

    Raises:
        Unavailable: Kafka does not answer.
    """
    producer = batch_producer(settings)
    for partition in range(settings.kafka.partitions):
        log = KafkaLog(settings, producer, TOPICS["profiles"], partition)
        start, at_end = 0, False
        while not at_end:
            page = await log.read(start)
            for raw in page.records:
                yield effect_of(raw)
            start, at_end = page.next_offset, page.at_end
        await log.close()
    await producer.stop()


def effect_of(raw: Raw) -> Effect:
    """What one record says."""
    said = {name: value.decode() for name, value in raw.headers}
    return Effect(
        said["correlationid"],
        raw.key,
        int(said.get("aggregateversion", 0)),
        str(raw.position),
        command=int(said["commandoffset"]),
        changes=not is_outcome(said["ce_type"]),
        counts=raw.counts,
    )
