"""A topic full of interactions, to be projected and replayed by everybody."""

from datetime import UTC, datetime
from itertools import islice

from uuid6 import uuid7

from console.bench import synthetic
from infra.kafka.facts import FactWriter
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.envelope import Meta
from schemas.interactions import InteractionRecorded

TOPIC = "interactions"
AT_ONCE = 5_000


async def filled(settings: Settings, count: int) -> Decoder:
    """Let the topic `interactions` hold so many events, and answer what reads them; whoever comes first fills it."""
    decoder = await open_decoder(settings)
    there = sum(part.end for part in await ranges_now(settings, [TOPIC]))
    events = islice(synthetic.interactions(count), there, None)
    async with FactWriter(settings, decoder.codec, linger_ms=5) as writer:
        while chunk := list(islice(events, AT_ONCE)):
            await writer.append_all([(event, meta_of(event)) for event in chunk])
    return decoder


def meta_of(event: InteractionRecorded) -> Meta:
    """What our command API writes around an interaction."""
    return Meta(
        id=uuid7(),
        type=event.AVRO,
        source="retrace/bench",
        subject=event.user_id,
        time=datetime.now(UTC),
        actor="bench",
        correlation_id=str(uuid7()),
    )
