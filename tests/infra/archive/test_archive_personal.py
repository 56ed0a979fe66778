"""An archive outlives an erasure: so nothing that was erased may be readable in it."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
from confluent_kafka import Producer
from uuid6 import uuid7

from infra.archive.create import Archiver
from infra.kafka.connect import librdkafka_options
from infra.kafka.ranges import ranges_now
from infra.kafka.topics import physical
from infra.personal.fields import sealed_fields
from infra.personal.seal import Person, PersonKey
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.contracts import contracts
from schemas.envelope import Meta
from schemas.profiles import UserRegistered

NAME = "Ada Lovelace-Byron"


async def test_personal_fields_stay_sealed(settings: Settings, tmp_path: Path) -> None:
    """The archive keeps the bytes of Kafka, in which the name is sealed under a key that stands nowhere near."""
    notary = settings.notary.model_copy(update={"key_file": tmp_path / "n.key", "public_keys": tmp_path / "n"})
    mine = settings.model_copy(update={"archive": (tmp_path / "archive").as_uri(), "notary": notary})
    decoder = await open_decoder(mine)
    contract, person = contracts()[UserRegistered.AVRO], Person(settings.tenant, "ada")
    plain = {"user_id": "ada", "name": NAME, "attributes": {"town": NAME}}
    value = decoder.codec.encode_fields(
        UserRegistered.AVRO, sealed_fields(contract, plain, person, PersonKey("k1", b"\1" * 32))
    )
    meta = Meta(id=uuid7(), type=UserRegistered.AVRO, source="t", subject="ada", time=datetime.now(UTC))
    producer = Producer(librdkafka_options(mine.kafka))
    producer.produce(physical(mine, "profiles"), value, key="ada", headers=list(meta.headers()))
    producer.flush()
    ranges = await ranges_now(mine, ["profiles"])
    assert sum([one.records async for one in Archiver(mine, lambda _: None).archive(ranges)]) == 1
    files = [path for path in (tmp_path / "archive").rglob("*") if path.is_file()]
    held = [path.read_bytes() for path in files]
    held += [row["value"] for path in files if path.suffix == ".parquet" for row in pq.read_table(path).to_pylist()]
    assert value in held
    assert all(NAME.encode() not in data for data in held)
