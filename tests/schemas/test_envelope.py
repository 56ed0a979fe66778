"""What stands around an event survives the way, and the rule that decides what is an event."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid6 import uuid7

from schemas.envelope import EXPECTED_OFFSET, Meta, counts, tenant_of
from schemas.errors import Incompatible
from schemas.topics import TOPICS

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
offsets = st.none() | st.integers(0, 2**63 - 1)
metas = st.builds(
    Meta,
    id=st.uuids(),
    type=text,
    source=text,
    subject=text,
    time=st.datetimes(timezones=st.just(UTC)),
    actor=text,
    tenant=text,
    correlation_id=st.just("") | text,
    causation_id=st.just("") | text,
    traceparent=st.none() | text,
    command_offset=offsets,
    expected_offset=offsets,
    version=offsets,
    expected_version=offsets,
    fingerprint=st.none() | text,
)
META = Meta(id=uuid7(), type="t", source="s", subject="k", time=datetime(2026, 1, 1, tzinfo=UTC))


@given(metas)
def test_meta_comes_back_as_it_went(meta: Meta) -> None:
    """Who, when and why are part of the record; audit and explain read them."""
    assert Meta.of(meta.headers()) == meta


def test_headers_are_cloud_events() -> None:
    """Any CloudEvents tool reads our topics without knowing us (binary mode)."""
    headers = dict(META.headers())
    assert headers["ce_specversion"] == b"1.0"
    assert {"ce_id", "ce_type", "ce_source", "ce_subject", "ce_time"} <= headers.keys()
    assert headers["content-type"] == b"application/avro"
    assert datetime.fromisoformat(headers["ce_time"].decode()) == META.time


def test_what_is_not_set_is_not_written() -> None:
    """A header costs bytes in every record for ever; `0` is set, `None` is not."""
    names = dict(META.headers()).keys()
    assert EXPECTED_OFFSET not in names
    assert "traceparent" not in names
    assert dict(replace(META, expected_offset=0).headers())[EXPECTED_OFFSET] == b"0"


def test_times_of_other_zones_are_read_as_utc() -> None:
    """Writers in other languages may write any offset."""
    east = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    headers = [(n, v) for n, v in META.headers() if n != "ce_time"] + [("ce_time", east.isoformat().encode())]
    time = Meta.of(headers).time
    assert time == datetime(2026, 1, 1, tzinfo=UTC)
    assert time.utcoffset() == timedelta(0)


@pytest.mark.parametrize("missing", ["ce_id", "ce_type", "ce_source", "ce_subject", "ce_time"])
def test_a_missing_header_is_named(missing: str) -> None:
    """A record from elsewhere is set aside with its cause."""
    with pytest.raises(Incompatible, match=missing) as caught:
        Meta.of([(name, value) for name, value in META.headers() if name != missing])
    assert caught.value.code == "bad_headers"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_id", b"7"),
        ("ce_time", b"yesterday"),
        ("ce_type", b"\xff\xfe"),
        ("expectedoffset", b"first"),
        ("ce_subject", None),
        ("ce_time", b"2026-01-01T00:00:00"),
        ("ce_time", b"0001-01-01T00:00:00+14:00"),
    ],
)
def test_an_unreadable_header_is_incompatible(name: str, value: bytes) -> None:
    """Nothing in a header may crash a reader."""
    with pytest.raises(Incompatible):
        Meta.of([(n, v) for n, v in META.headers() if n != name] + [(name, value)])


def test_foreign_headers_do_no_harm() -> None:
    """Connect and tracing agents add their own, in whatever encoding."""
    assert Meta.of([*META.headers(), ("foreign", b"\xff\x00"), ("empty", None)]) == META  # type: ignore[list-item]


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_on_a_decided_topic_an_event_counts_where_it_was_expected(stands: int, expected: int) -> None:
    """The rule of the offset-checked append, in both directions."""
    headers = [(EXPECTED_OFFSET, str(expected).encode())]
    assert counts(TOPICS["profiles"], stands, headers) == (stands == expected)


@pytest.mark.parametrize("value", [b"", b"07", b"7 ", b"+7", b"7.0"])
def test_only_the_very_number_counts(value: bytes) -> None:
    """Every reader in every language must judge alike, so there is one way to write an offset."""
    assert not counts(TOPICS["profiles"], 7, [(EXPECTED_OFFSET, value)])


def test_on_a_decided_topic_nothing_counts_without_the_header() -> None:
    """A stray producer cannot write history."""
    assert not counts(TOPICS["profiles"], 0, [])


@pytest.mark.parametrize("topic", ["interactions", "profiles.commands"])
def test_elsewhere_everything_counts(topic: str) -> None:
    """Facts and commands have many writers."""
    assert counts(TOPICS[topic], 5, [])
    assert counts(TOPICS[topic], 5, [(EXPECTED_OFFSET, b"4")])


def test_decided_events_get_the_same_ids_on_every_attempt() -> None:
    """A second owner that decides the same command must not make a second event."""
    first = Meta.of(META.caused(0, type="e", source="s", expected_offset=3, command_offset=9, version=1))
    again = Meta.of(META.caused(0, type="e", source="s", expected_offset=8, command_offset=9, version=1))
    other = Meta.of(META.caused(1, type="e", source="s", expected_offset=4, command_offset=9, version=2))
    assert first.id == again.id == uuid5(META.id, "9/0")
    assert other.id != first.id
    assert first.id.version == 5
    assert first.causation_id == str(META.id)
    assert (first.subject, first.actor, first.tenant, first.time) == (
        META.subject,
        META.actor,
        META.tenant,
        META.time,
    )


@given(metas, st.integers(0, 3), text, text, st.integers(0, 2**63 - 1))
def test_what_a_command_caused_tells_all_of_it(meta: Meta, index: int, type: str, source: str, number: int) -> None:
    """The headers of an answer are written without a `Meta` in between, and say what one would."""
    headers = meta.caused(index, type=type, source=source, expected_offset=number, command_offset=7, version=index)
    expected = replace(
        meta,
        id=uuid5(meta.id, f"7/{index}"),
        type=type,
        source=source,
        causation_id=str(meta.id),
        command_offset=7,
        expected_offset=number,
        version=index,
        expected_version=None,
    )
    assert headers == expected.headers()


def test_on_behalf_changes_the_actor_alone() -> None:
    """A worker that speaks for somebody else leaves the rest as it is."""
    assert META.on_behalf("ana") == replace(META, actor="ana")


@pytest.mark.parametrize(("value", "tenant"), [(b"acme", "acme"), (b"\xff", "default"), (None, "default")])
def test_a_tenant_that_is_no_text_is_nobody_in_particular(value: Any, tenant: str) -> None:
    """Kafka allows null in a header; a reader that fails on it stops for good."""
    assert tenant_of([("ce_id", b"x"), ("tenant", value)]) == tenant
