"""Which topic it is: Kafka gives each an id, so one that was made anew under the same name is another."""

import asyncio
from collections.abc import Iterable

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from infra.kafka.connect import librdkafka_options
from infra.kafka.topics import logical, physical
from infra.settings import Settings
from schemas.errors import Unavailable

TIMEOUT_S = 20.0


async def topic_ids(settings: Settings, topics: Iterable[str]) -> dict[str, str]:
    """Kafka's ids of these topics, which exist.

    Raises:
        Unavailable: the brokers do not answer.
    """
    return await asyncio.to_thread(_topic_ids, settings, sorted(set(topics)))


def _topic_ids(settings: Settings, topics: list[str]) -> dict[str, str]:
    admin = AdminClient(librdkafka_options(settings.kafka) | {"log_level": 0})
    names = TopicCollection([physical(settings, topic) for topic in topics])
    try:
        answers = admin.describe_topics(names, request_timeout=TIMEOUT_S)
        return {logical(settings, name): str(answer.result(TIMEOUT_S).topic_id) for name, answer in answers.items()}
    except (KafkaException, TimeoutError) as fault:
        raise Unavailable(f"Kafka at {settings.kafka.bootstrap} does not answer: {fault}") from fault
