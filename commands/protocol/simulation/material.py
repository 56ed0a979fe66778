"""What a simulated world is made of: commands about a few training runs, and two versions of the code."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID, uuid5

from commands.aggregates.model import AGGREGATE as AGGREGATE
from infra.kafka.records import Decoder, Raw
from schemas.codec import Codec
from schemas.contracts import contracts
from schemas.envelope import Meta
from schemas.errors import Incompatible
from schemas.models import (
    CompleteTraining,
    FailTraining,
    ModelsCommand,
    RequestTraining,
    RetireModel,
    StartTraining,
    TrainingFailed,
    TrainingRequested,
)
from schemas.topics import TOPICS

Version: TypeAlias = Literal["old", "new"]

TOPIC = TOPICS["models"]
NAMESPACE = UUID("0d0e2f1c-52b7-5d61-8f3e-6f8a0a3c5b11")
ADDED_FIELD = ("k", 100)
WITH_ADDED_FIELD = (RequestTraining.AVRO, TrainingRequested.AVRO)
UNKNOWN_TO_OLD = (FailTraining.AVRO, TrainingFailed.AVRO)


class OlderCodec(Codec):
    """The codec of the version before: it lacks a field that was added with a default, and one kind of record.

    It reads what today's code wrote as Avro resolves it, without the field, and writes records that lack it.
    """

    def encode_fields(self, full_name: str, fields: dict[str, Any]) -> bytes:
        """The bytes of a record as the version before knew it."""
        return super().encode_fields(full_name, _without(full_name, fields))

    def decode_fields(self, value: bytes) -> tuple[str, dict[str, Any]]:
        """Type and fields of a record as the version before knew it.

        Raises:
            Incompatible: that version did not know the type.
        """
        full_name, fields = super().decode_fields(value)
        if full_name in UNKNOWN_TO_OLD:
            raise Incompatible(f"{full_name} is no record of this version: upgrade the reader", code="unknown_type")
        return full_name, _without(full_name, fields)


def _without(full_name: str, fields: dict[str, Any]) -> dict[str, Any]:
    return fields | dict([ADDED_FIELD]) if full_name in WITH_ADDED_FIELD else fields


async def _no_registry(schema_id: int) -> Mapping[str, Any]:
    raise KeyError(schema_id)


IDS = {name: number for number, name in enumerate(contracts(), 1)}
CODEC = Codec(IDS)
CODECS: Mapping[Version, Codec] = {"new": CODEC, "old": OlderCodec(IDS)}
DECODERS: Mapping[Version, Decoder] = {version: Decoder(codec, _no_registry) for version, codec in CODECS.items()}


def random_commands(choose: random.Random, number: int) -> Iterator[Raw]:
    """Commands about a few runs of two models; some come twice, with the same body or another."""
    bodies: list[tuple[ModelsCommand, UUID]] = []
    for offset in range(number):
        command, id = _random_command(choose), uuid5(NAMESPACE, str(offset))
        if bodies and choose.random() < 0.15:
            again, id = choose.choice(bodies)
            command = again if choose.random() < 0.7 else replace(command, model=again.model)
        bodies.append((command, id))
        yield _raw(command, id, offset, choose.choice([None, None, None, 0, 1, 2, 3]))


def _random_command(choose: random.Random) -> ModelsCommand:
    model, run = choose.choice(["movies", "books"]), f"run-{choose.randrange(3)}"
    match choose.randrange(5):
        case 0:
            return RequestTraining(model=model, run_id=run, algorithm="ease", k=choose.choice([20, 100]))
        case 1:
            return StartTraining(model=model, run_id=run, ranges=())
        case 2:
            return CompleteTraining(
                model=model,
                run_id=run,
                dataset_sha256="d",
                dataset_rows=1,
                duplicates=0,
                artifact_sha256="a" * 64,
                artifact_bytes=1,
                metrics={"recall": 0.5},
                duration_s=1.0,
            )
        case 3:
            return FailTraining(model=model, run_id=run, reason="no")
        case _:
            return RetireModel(model=model, version=choose.randint(1, 2))


def _raw(command: ModelsCommand, id: UUID, offset: int, expected_version: int | None) -> Raw:
    value = CODEC.encode(command)
    meta = Meta(
        id=id,
        type=command.AVRO,
        source="simulation",
        subject=command.model,
        time=datetime(2026, 3, 1, tzinfo=UTC),
        expected_version=expected_version,
        fingerprint=value.hex(),
    )
    return Raw(TOPICS["models.commands"], 0, offset, command.model, value, meta.headers(), 0)
