"""Bytes and records: what goes in comes out, and what is broken is named."""

import contextlib
import io
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import FRAME, Codec, as_fields, class_of, parsed, schema_id_of
from schemas.contracts import contracts
from schemas.errors import Incompatible
from schemas.features import ItemTrendMeasured
from schemas.interactions import InteractionRecorded
from tests.schemas.records import IDS, LIVING, any_record, records, values

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CODEC = Codec(IDS)
VIEWED = InteractionRecorded(user_id="u", item_id="i", kind="view", occurred_at=NOW)


@pytest.mark.parametrize("name", sorted(LIVING))
@given(data=st.data())
def test_every_contract_comes_back_as_it_went(name: str, data: st.DataObject) -> None:
    """The log must give back what was said, whatever was said."""
    record = data.draw(records(LIVING[name]))
    back = CODEC.decode(CODEC.encode(record))
    assert back == record
    assert type(back) is class_of(LIVING[name])


@given(any_record)
def test_the_bytes_are_confluents(record: Any) -> None:
    """kcat, Connect and Flink read the topics: a zero byte, the schema's id, plain Avro."""
    encoded = CODEC.encode(record)
    assert encoded[0] == 0
    assert schema_id_of(encoded) == IDS[record.AVRO]
    plain = fastavro.schemaless_reader(io.BytesIO(encoded[FRAME.size :]), parsed(record.AVRO), None)
    assert plain == as_fields(record)


@given(any_record)
def test_decoded_records_are_frozen_all_the_way(record: Any) -> None:
    """An event that a reader could change would be another event for the next reader."""
    for value in (getattr(CODEC.decode(CODEC.encode(record)), name) for name in as_fields(record)):
        assert not isinstance(value, list)


@given(st.binary(max_size=40).filter(lambda value: len(value) < 5 or value[0] != 0))
def test_what_has_no_framing_is_named(value: bytes) -> None:
    """Garbage on a topic is told apart from a schema problem."""
    with pytest.raises(Incompatible) as caught:
        CODEC.decode(value)
    assert caught.value.code == "bad_framing"


def test_no_value_has_no_framing() -> None:
    """A tombstone on an event topic is no event."""
    with pytest.raises(Incompatible, match="zero byte"):
        schema_id_of(None)


def test_an_unknown_schema_is_named() -> None:
    """The reader asks the registry and tries again."""
    with pytest.raises(Incompatible, match="schema 4711") as caught:
        CODEC.decode(FRAME.pack(0, 4711) + b"x")
    assert caught.value.code == "unknown_schema"


@given(any_record, st.data())
def test_cut_or_random_bytes_never_crash_the_reader(record: Any, data: st.DataObject) -> None:
    """Whatever stands in the log, the reader gets Incompatible or a record; anything else would end it."""
    encoded = CODEC.encode(record)
    cut = encoded[: data.draw(st.integers(5, len(encoded)))]
    random = encoded[:5] + data.draw(st.binary(max_size=60))
    for value in (cut, random):
        with contextlib.suppress(Incompatible):
            CODEC.decode(value)


@pytest.mark.parametrize(
    "record",
    [
        InteractionRecorded(user_id=None, item_id="i", kind="view", occurred_at=NOW),  # type: ignore[arg-type]
        InteractionRecorded(user_id="u", item_id="i", kind="glance", occurred_at=NOW),  # type: ignore[arg-type]
        InteractionRecorded(user_id="u", item_id="i", kind="view", occurred_at="now"),  # type: ignore[arg-type]
        InteractionRecorded(user_id="u", item_id="i", kind="view", occurred_at=NOW, value="x"),  # type: ignore[arg-type]
        ItemTrendMeasured(item_id="i", window_start=NOW, window_end=NOW, interactions=2**63, score=1.0),
    ],
)
def test_what_does_not_fit_is_not_written(record: Any) -> None:
    """A wrong value fails at the writer, where its cause is, not at every reader."""
    with pytest.raises(Incompatible) as caught:
        CODEC.encode(record)
    assert caught.value.code == "does_not_fit"


def test_a_record_without_an_id_is_not_written() -> None:
    """Bytes that name no schema could never be read."""
    with pytest.raises(Incompatible) as caught:
        Codec({}).encode(VIEWED)
    assert caught.value.code == "unknown_type"


def test_a_learnt_older_schema_is_read_in_todays_form() -> None:
    """A log outlives its code: fields that were added since take their defaults."""
    codec = Codec(IDS)
    today = contracts()[InteractionRecorded.AVRO].schema
    older = {**today, "fields": [field for field in today["fields"] if field["name"] != "decision_id"]}
    codec.learn(900, older)
    buffer = io.BytesIO(FRAME.pack(0, 900))
    buffer.seek(FRAME.size)
    fields = as_fields(VIEWED)
    del fields["decision_id"]
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(older, named_schemas={}), fields)
    assert codec.knows(900)
    assert codec.decode(buffer.getvalue()) == VIEWED


def test_a_symbol_of_tomorrow_is_read_as_the_default() -> None:
    """A newer writer's kind of interaction is `other` to an older reader, not a stop."""
    codec = Codec(IDS)
    today = contracts()[InteractionRecorded.AVRO].schema
    kind = next(field for field in today["fields"] if field["name"] == "kind")
    newer_kind = {**kind, "type": {**kind["type"], "symbols": [*kind["type"]["symbols"], "share"]}}
    newer = {**today, "fields": [newer_kind if field is kind else field for field in today["fields"]]}
    codec.learn(901, newer)
    buffer = io.BytesIO()
    fastavro.schemaless_writer(
        buffer, fastavro.parse_schema(newer, named_schemas={}), {**as_fields(VIEWED), "kind": "share"}
    )
    assert codec.decode(FRAME.pack(0, 901) + buffer.getvalue()).kind == "other"


def test_a_record_of_tomorrow_asks_for_an_upgrade() -> None:
    """An event that this version does not know stops the reader; it is not skipped."""
    codec = Codec(IDS)
    codec.learn(902, {"type": "record", "name": "Teleported", "namespace": "retrace.users", "fields": []})
    with pytest.raises(Incompatible, match="upgrade") as caught:
        codec.decode(FRAME.pack(0, 902))
    assert caught.value.code == "unknown_type"


@pytest.mark.parametrize("schema", [{"type": "record"}, {"type": "nonsense", "name": "X"}, {}, {"type": "string"}])
def test_what_is_no_record_schema_is_not_learnt(schema: dict[str, Any]) -> None:
    """A registry that answers nonsense is a problem with a name."""
    with pytest.raises(Incompatible) as caught:
        Codec({}).learn(903, schema)
    assert caught.value.code == "bad_schema"


@given(values(contracts()["retrace.interactions.RatingRecorded"].schema))
def test_a_retired_record_is_read_as_its_successor(fields: dict[str, Any]) -> None:
    """Upcasting happens on the read path, once, for every reader."""
    name = "retrace.interactions.RatingRecorded"
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, parsed(name), fields)
    record = CODEC.decode(FRAME.pack(0, IDS[name]) + buffer.getvalue())
    assert isinstance(record, InteractionRecorded)
    assert (record.kind, record.value, record.occurred_at) == ("rate", fields["rating"], fields["rated_at"])
