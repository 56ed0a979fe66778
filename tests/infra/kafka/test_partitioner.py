"""The partition we compute is the one the brokers' clients choose."""

from aiokafka import AIOKafkaProducer
from confluent_kafka import Message, Producer
from hypothesis import given
from hypothesis import strategies as st

from infra.kafka.connect import aiokafka_options, librdkafka_options
from infra.kafka.partitioner import partition_of
from infra.kafka.topics import create_topics, physical
from infra.settings import Settings
from schemas.topics import TOPICS

KEYS = ["1", "42", "user-7", "", "ümlaut", "日本", "x" * 300, "a b", *(f"key-{n}" for n in range(200))]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 100))
def test_a_partition_is_one_of_the_topics(key: str, partitions: int) -> None:
    """Whatever the key."""
    assert 0 <= partition_of(key, partitions) < partitions


async def test_both_clients_choose_the_partition_that_we_compute(settings: Settings) -> None:
    """The processor of partition i answers for the keys of partition i: all writers must agree on which those are."""
    await create_topics(settings, [TOPICS["interactions"]])
    topic = physical(settings, "interactions")
    expected = {key: partition_of(key, settings.kafka.partitions) for key in KEYS}
    assert await _by_aiokafka(settings, topic) == expected
    assert _by_librdkafka(settings, topic) == {key: p for key, p in expected.items() if key}


async def _by_aiokafka(settings: Settings, topic: str) -> dict[str, int]:
    async with AIOKafkaProducer(**aiokafka_options(settings.kafka)) as producer:
        sent = {key: await producer.send(topic, b"x", key=key.encode()) for key in KEYS}
        return {key: (await placed).partition for key, placed in sent.items()}


def _by_librdkafka(settings: Settings, topic: str) -> dict[str, int]:
    producer = Producer(librdkafka_options(settings.kafka) | {"partitioner": "murmur2_random"})
    placed: dict[str, int] = {}

    def delivered(fault: object, message: Message) -> None:
        assert fault is None
        placed[(message.key() or b"").decode()] = message.partition() or 0

    for key in filter(None, KEYS):  # librdkafka takes an empty key for none
        producer.produce(topic, b"x", key=key.encode(), on_delivery=delivered)
    producer.flush(60)
    return placed
