"""Events as columns must be the events that decoding one by one gives: every read path says the same."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import fastavro
import polars as pl
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import example, given, settings
from hypothesis import strategies as st
from uuid6 import uuid7

from infra.kafka import columns, frame
from infra.kafka.block import Block, split
from infra.kafka.container import read, text
from infra.kafka.records import Raw
from infra.kafka.varint import varint
from schemas.codec import FRAME, MAGIC, Codec
from schemas.contracts import contracts
from schemas.deployments import ApprovalRequested
from schemas.envelope import EXPECTED_OFFSET, Meta
from schemas.errors import Incompatible
from schemas.topics import TOPICS, Topic

from ...schemas.records import IDS, any_record

INTERACTIONS, PROFILES = TOPICS["interactions"], TOPICS["profiles"]
CODECS = {"none": 0, "gzip": 1, "lz4": 3}
OLD_ID = 900


def codec() -> Codec:
    known = Codec(IDS)
    first_form = dict(contracts()["retrace.interactions.InteractionRecorded"].schema)
    first_form["fields"] = [f for f in first_form["fields"] if f["name"] not in ("decision_id", "value")]
    known.learn(OLD_ID, first_form)
    return known


def meta(event: Any, **more: Any) -> Meta:
    return Meta(
        id=uuid7(),
        type=event.AVRO,
        source="test",
        subject="k",
        time=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        **more,
    )


def raw(topic: Topic, offset: int, value: bytes | None, headers: Sequence[tuple[str, bytes]], key: str = "k") -> Raw:
    return Raw(topic, 2, offset, key, value, headers, 1_700_000_000_000 + offset)


def batches(raws: Sequence[Raw], size: int, compression: int) -> list[Block]:
    """The records as a broker would keep them, `size` in a batch."""
    blocks: list[Block] = []
    for start in range(0, len(raws), size):
        part = raws[start : start + size]
        builder = DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, 1 << 24)
        for i, r in enumerate(part):
            assert builder.append(i, r.timestamp_ms, r.key.encode(), r.value, list(r.headers)) is not None
        data = bytearray(builder.build())
        data[:8] = part[0].offset.to_bytes(8, "big")  # what a broker does when it appends; the checksum leaves it out
        blocks += split(bytes(data))
    return blocks


def in_maps(kind: Any, value: Any) -> Any:
    """A value of a schema with its maps as the codec gives them; columns have lists of pairs for them, at any depth."""
    for branch in kind if isinstance(kind, list) else [kind]:
        if value is not None and isinstance(branch, dict) and branch["type"] == "map":
            return {pair["key"]: in_maps(branch["values"], pair["value"]) for pair in value}
    return value


def as_rows(tables: dict[str, pl.DataFrame]) -> list[tuple[int, str, dict[str, Any]]]:
    """The events of tables in the form that the codec gives."""
    found = []
    for name, table in tables.items():
        kinds = {field["name"]: field["type"] for field in contracts()[name].fields}
        for row in table.iter_rows(named=True):
            fields = {field: in_maps(kinds[field], row[field]) for field in row if field not in columns.META}
            found.append((row["_offset"], name, fields))
    return sorted(found, key=lambda row: row[0])


MAPS_IN_MAPS = ApprovalRequested(
    model="m",
    deployment_id="d",
    version=1,
    artifact_sha256="a",
    approvals_wanted=1,
    timeout_s=1,
    evidence={"validated": {"golden": "exact"}, "loaded": {}},
    evidence_sha256="e",
)


@settings(deadline=None)
@given(
    events=st.lists(any_record, min_size=1, max_size=25),
    size=st.integers(1, 25),
    compression=st.sampled_from(sorted(CODECS.values())),
    odd=st.sets(st.integers(0, 24)),
)
@example(events=[MAPS_IN_MAPS], size=1, compression=0, odd=set())
def test_columns_are_what_the_codec_gives(events: list[Any], size: int, compression: int, odd: set[int]) -> None:
    """Any mix of types, headers, batch sizes and compressions."""
    known = codec()
    raws = [
        raw(INTERACTIONS, 100 + i, known.encode(e), meta(e, traceparent="t" if i in odd else None).headers())
        for i, e in enumerate(events)
    ]
    for rows in (
        frame.of_blocks(batches(raws, size, compression), columns.HEADERS),
        frame.of_raws(raws, columns.HEADERS),
    ):
        found = as_rows(columns.events(rows, INTERACTIONS, 2, known))
        assert found == [(r.offset, *known.decode_fields(r.value or b"")) for r in raws]


def test_old_forms_come_as_they_are_called_today() -> None:
    """Two old forms between today's: resolved, upcast and in the order of the log."""
    known = codec()
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    old = {"user_id": "a", "item_id": "i", "kind": "view", "occurred_at": moment}
    rating = {"user_id": "b", "item_id": "j", "rating": 4.0, "rated_at": moment}
    today = {**old, "value": 1.0, "decision_id": None}
    first_form = dict(contracts()["retrace.interactions.InteractionRecorded"].schema)
    first_form["fields"] = [f for f in first_form["fields"] if f["name"] not in ("decision_id", "value")]
    values = [
        framed(IDS["retrace.interactions.InteractionRecorded"], "retrace.interactions.InteractionRecorded", today),
        framed(OLD_ID, first_form, old),
        framed(IDS["retrace.interactions.RatingRecorded"], "retrace.interactions.RatingRecorded", rating),
        framed(IDS["retrace.interactions.InteractionRecorded"], "retrace.interactions.InteractionRecorded", today),
    ]
    raws = [raw(INTERACTIONS, i, value, ()) for i, value in enumerate(values)]
    tables = columns.events(frame.of_raws(raws, columns.HEADERS), INTERACTIONS, 2, known)
    assert list(tables) == ["retrace.interactions.InteractionRecorded"]
    assert as_rows(tables) == [(i, *known.decode_fields(value)) for i, value in enumerate(values)]
    assert tables["retrace.interactions.InteractionRecorded"]["_schema_id"].n_unique() == 3


def framed(schema_id: int, schema: Any, fields: dict[str, Any]) -> bytes:
    if isinstance(schema, str):
        schema = dict(contracts()[schema].schema)
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema, named_schemas={}), fields)
    return FRAME.pack(MAGIC, schema_id) + buffer.getvalue()


def test_void_records_do_not_count() -> None:
    """The rule of the offset-checked append holds for columns, and a record without the header is void too."""
    consent = next(c for c in contracts().values() if c.name == "ConsentGiven")
    value = framed(IDS[consent.full_name], consent.full_name, {"user_id": "u", "purpose": "training"})
    raws = [
        raw(PROFILES, 7, value, [(EXPECTED_OFFSET, b"7")]),
        raw(PROFILES, 8, value, [(EXPECTED_OFFSET, b"7")]),
        raw(PROFILES, 9, value, []),
        raw(PROFILES, 10, value, [(EXPECTED_OFFSET, b"10")]),
    ]
    rows = frame.of_blocks(batches(raws, 2, 0), columns.HEADERS)
    assert columns.counting(rows, PROFILES)["offset"].to_list() == [7, 10] == [r.offset for r in raws if r.counts]


@pytest.mark.parametrize("place", [0, 3, 9])
def test_a_value_that_does_not_fit_is_named_by_its_position(place: int) -> None:
    """One broken event among many: the message says which, and the others are not shifted silently."""
    known = codec()
    consent = next(c for c in contracts().values() if c.name == "ConsentGiven")
    fine = framed(IDS[consent.full_name], consent.full_name, {"user_id": "u", "purpose": "training"})
    raws = [raw(INTERACTIONS, i, fine[:7] if i == place else fine, ()) for i in range(10)]
    with pytest.raises(Incompatible, match=f"interactions/2/{place}:"):
        columns.events(frame.of_raws(raws, columns.HEADERS), INTERACTIONS, 2, known)
    longer = [raw(INTERACTIONS, i, fine + fine if i == place else fine, ()) for i in range(10)]
    tables = columns.events(frame.of_raws(longer, columns.HEADERS), INTERACTIONS, 2, known)
    assert as_rows(tables) == [(r.offset, *known.decode_fields(fine)) for r in longer]


def test_missing_keys_and_values() -> None:
    """A tombstone is no event: it is named, not skipped; a record without a key is read all the same."""
    known = codec()
    tombstone = frame.of_raws([raw(INTERACTIONS, 0, None, ())], columns.HEADERS)
    with pytest.raises(Incompatible):
        columns.schema_ids(tombstone)
    with pytest.raises(Incompatible, match="interactions/2/0"):
        columns.events(tombstone, INTERACTIONS, 2, known)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 4000), st.integers(0, 60))
def test_the_container_reads_every_record_once(count: int, size: int) -> None:
    """The native reader has read the end of a file twice before; a block of any size must come back as it is."""
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "n", "type": "long"}, {"name": "t", "type": "bytes"}],
    }
    data = b"".join(varint(i) + text(b"x" * size) for i in range(count))
    assert read(schema, count, data)["n"].to_list() == list(range(count))
