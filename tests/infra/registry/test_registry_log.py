import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from infra.health import Health
from infra.kafka.connect import aiokafka_options
from infra.registry.log import SchemaLog, _retrieve_faults
from infra.settings import KafkaSettings, Settings
from schemas.errors import Rejected, TooLarge, Unavailable

Replica = Callable[[], AbstractAsyncContextManager[SchemaLog]]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]


def schema(name: str, *fields: str) -> str:
    return json.dumps(
        {"type": "record", "name": name, "fields": [{"name": f, "type": "int", "default": 0} for f in fields]}
    )


async def register(log: SchemaLog, subject: str, text: str) -> int:
    registry = await log.write(lambda r: r.register(subject, text))
    return registry.find(subject, text).id


async def test_a_restarted_replica_knows_everything(replica: Replica) -> None:
    """The topic is the only store."""
    async with replica() as before:
        assert await register(before, "s", schema("A")) == 1
    async with replica() as after:
        assert after.registry.subjects() == ["s"]
        assert after.registry.find("s", schema("A")).version == 1


async def test_replicas_that_write_at_once_never_give_an_id_twice(replica: Replica) -> None:
    """Two schemas under one id would make records unreadable, and nobody would notice for weeks."""
    async with replica() as one, replica() as two:
        replicas = (one, two)
        ids = await asyncio.gather(*(register(replicas[n % 2], f"s{n}", schema(f"A{n}")) for n in range(20)))
        assert sorted(ids) == list(range(1, 21))
        for log in replicas:
            registry = await log.catch_up()
            assert [registry.find(f"s{n}", schema(f"A{n}")).id for n in range(20)] == ids
            assert registry.conflicts == []


async def test_the_same_schema_from_two_replicas_is_one(replica: Replica) -> None:
    """All services register at once when a cluster starts."""
    async with replica() as one, replica() as two:
        ids = await asyncio.gather(*(register(log, "s", schema("A")) for log in (one, two, one, two)))
        assert set(ids) == {1}
        assert len((await two.catch_up()).versions("s")) == 1


async def test_of_two_schemas_that_do_not_go_together_one_is_refused(replica: Replica) -> None:
    """Each alone may follow; the second must be judged against the first, on whichever replica it arrives."""
    one_field, other_field = (
        '{"type":"record","name":"A","fields":[{"name":"x","type":"%s","default":%s}]}' % pair  # noqa: UP031
        for pair in (("int", "0"), ("string", '""'))
    )
    async with replica() as one, replica() as two:
        await register(one, "s", schema("A"))
        answers = await asyncio.gather(
            register(one, "s", one_field), register(two, "s", other_field), return_exceptions=True
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["Rejected", "int"]
        assert any(isinstance(answer, Rejected) for answer in answers)


async def test_a_stalled_writer_that_wakes_up_changes_nothing(replica: Replica, settings: Settings) -> None:
    """Its half-written transaction is void from the moment another replica takes over, whatever it sends later."""
    topic = settings.topic_prefix + "_schemas"
    async with replica() as one:
        await register(one, "s", schema("A"))
        stalled = AIOKafkaProducer(**aiokafka_options(settings.kafka), transactional_id=topic)
        await stalled.start()
        try:
            await stalled.begin_transaction()
            (record,) = one.registry.register("stalled", schema("B"))
            await stalled.send_and_wait(topic, record.value, record.key, partition=0)
            assert await register(one, "t", schema("C")) == 2
            with pytest.raises(KafkaError):
                await stalled.commit_transaction()
        finally:
            _retrieve_faults(stalled)
            await stalled.stop()
        registry = await one.catch_up()
        assert registry.subjects() == ["s", "t"]
        assert registry.schema(2) == schema("C").replace(" ", "")


async def test_what_one_replica_wrote_the_other_reads(replica: Replica, eventually: Eventually) -> None:
    """Behind a load balancer the next request goes elsewhere."""
    async with replica() as one, replica() as two:
        await register(one, "s", schema("A"))
        await eventually(lambda: two.registry.subjects() == ["s"])


async def test_a_schema_is_answered_when_the_others_can_read_it(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka confirms a commit before its marker stands in the log: a client is quicker at the next replica."""
    async with replica() as one:
        await register(one, "s", schema("A"))
        assert one._consumer is not None
        told, real = 0, one._consumer.end_offsets

        async def late(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
            nonlocal told
            told += 1
            return dict(before if told <= 3 else await real(partitions))

        before = await real([one._partition])
        monkeypatch.setattr(one._consumer, "end_offsets", late)
        await register(one, "s2", schema("B"))
        assert told == 4


async def test_the_topic_holds_each_record_once(replica: Replica, settings: Settings) -> None:
    """The log is what another registry takes over: nothing written twice, no record without key."""
    async with replica() as log:
        for name in ("A", "B", "A"):
            await register(log, name, schema(name))
    consumer = AIOKafkaConsumer(**aiokafka_options(settings.kafka), auto_offset_reset="earliest")
    await consumer.start()
    try:
        partition = TopicPartition(settings.topic_prefix + "_schemas", 0)
        consumer.assign([partition])
        (end,) = (await consumer.end_offsets([partition])).values()
        records: list[ConsumerRecord] = []
        while await consumer.position(partition) < end:
            records += (await consumer.getmany(timeout_ms=200)).get(partition, ())
    finally:
        await consumer.stop()
    assert [json.loads(record.key)["keytype"] for record in records] == ["CONFIG", "SCHEMA", "SCHEMA"]


async def test_a_foreign_record_turns_health_red_and_says_where(
    replica: Replica, settings: Settings, eventually: Eventually
) -> None:
    """Somebody must be told which record it is; what was known before is still served."""
    async with replica() as log:
        await register(log, "s", schema("A"))
        producer = AIOKafkaProducer(**aiokafka_options(settings.kafka))
        await producer.start()
        try:
            metadata = await producer.send_and_wait(settings.topic_prefix + "_schemas", b"{}", b"what", partition=0)
        finally:
            await producer.stop()
        await eventually(lambda: f"offset {metadata.offset}" in log.health.components["log"].cause)
        assert not log.health.ready
        assert log.registry.subjects() == ["s"]
        with pytest.raises(Unavailable):
            await register(log, "s", schema("A", "x"))


async def test_a_schema_over_the_size_of_a_record_is_refused_at_once(replica: Replica) -> None:
    """Trying again would not help; the next schema must go through."""
    async with replica() as log:
        with pytest.raises(TooLarge):
            await register(log, "s", json.dumps({"type": "string", "note": "x" * 2_000_000}))
        assert await register(log, "s", schema("A")) == 1


async def test_without_kafka_the_cause_is_told(settings: Settings, eventually: Eventually) -> None:
    """`GET /health/ready` has to say which server is missing."""
    away = settings.model_copy(update={"kafka": KafkaSettings(bootstrap="127.0.0.1:1")})
    log = SchemaLog(away, Health("registry"))
    await log.start()
    try:
        await eventually(lambda: "127.0.0.1:1" in log.health.components["log"].cause)
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
            log.registry.subjects()
        with pytest.raises(Unavailable):
            await log.catch_up()
    finally:
        await log.stop()
