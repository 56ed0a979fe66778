"""The topics as they stand on the brokers: names with prefix, made when they are missing."""

from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code

from infra.kafka.connect import aiokafka_options
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.topics import TOPICS, Topic

STAMPS, BY_BROKER = "message.timestamp.type", "LogAppendTime"
KEEP_FOR_EVER = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}


def physical(settings: Settings, name: str) -> str:
    """Name on the brokers of the topic that we call `name`."""
    return settings.topic_prefix + name


def logical(settings: Settings, name: str) -> str:
    """What we call the topic that the brokers call `name`."""
    return name.removeprefix(settings.topic_prefix)


async def create_topics(settings: Settings, topics: Iterable[Topic] = tuple(TOPICS.values())) -> None:
    """Make the topics that are missing; those that exist stay as they are.

    Raises:
        Unavailable: the brokers do not answer.
    """
    wanted = [
        NewTopic(
            physical(settings, topic.name),
            num_partitions=settings.kafka.partitions,
            replication_factor=settings.kafka.replication,
            topic_configs=_configs(settings, topic),
        )
        for topic in topics
    ]
    admin = AIOKafkaAdminClient(**aiokafka_options(settings.kafka))
    try:
        await admin.start()
        existing = set(await admin.list_topics())
        missing = [topic for topic in wanted if topic.name not in existing]
        if missing:
            _settled((await admin.create_topics(missing)).topic_errors)
    except (KafkaError, OSError) as fault:
        raise Unavailable(f"Kafka at {settings.kafka.bootstrap} does not answer: {fault}") from fault
    finally:
        await admin.close()


def _configs(settings: Settings, topic: Topic) -> dict[str, str]:
    """Events are stamped by the broker when it takes them in: that is when they became known, on one clock for all."""
    stamps = {} if topic.kind == "commands" else {STAMPS: BY_BROKER}
    return {**KEEP_FOR_EVER, **stamps, "min.insync.replicas": str(settings.kafka.min_insync_replicas)}


async def stamped_by(settings: Settings, topics: Iterable[str]) -> dict[str, str]:
    """Who stamps the records of each of these topics, as they are set up now: `broker` or `producer`.

    Raises:
        Unavailable: the brokers do not answer.
    """
    names = {physical(settings, topic): topic for topic in topics}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, {STAMPS: ""}) for name in names]
    admin = AIOKafkaAdminClient(**aiokafka_options(settings.kafka))
    try:
        await admin.start()
        answers = await admin.describe_configs(asked)
    except (KafkaError, OSError) as fault:
        raise Unavailable(f"Kafka at {settings.kafka.bootstrap} does not answer: {fault}") from fault
    finally:
        await admin.close()
    return {names[name]: _who(entries) for answer in answers for *_, name, entries in answer.resources}


def _who(entries: Iterable[Sequence[Any]]) -> str:
    values = {name: value for name, value, *_ in entries}
    return "broker" if values.get(STAMPS) == BY_BROKER else "producer"


def _settled(answers: Iterable[Sequence[Any]]) -> None:
    """Accept what was made, by us or by a service that was quicker."""
    for name, code, *_ in answers:
        if for_code(code) not in (NoError, TopicAlreadyExistsError):
            raise for_code(code)(f"making topic {name}")
