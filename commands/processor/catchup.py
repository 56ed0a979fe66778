"""Folding a long stretch of the log by columns, before the conversation goes on record by record.

It comes to what folding one event after another comes to. What it cannot read it leaves to the conversation, which says
why.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
import polars as pl
import structlog

from commands.aggregate import Aggregate
from commands.processor.memory import Fold, Memory
from commands.protocol.state import Answer, Identity, Last, Versioned, answer_of, is_outcome
from infra.kafka import columns
from infra.kafka.fetch import Fetched, fetch, open_client
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.settings import Settings
from schemas.codec import FRAME, Codec, class_of, schema_id_of
from schemas.contracts import contracts
from schemas.envelope import DEFAULT_TENANT, EXPECTED_OFFSET
from schemas.errors import Incompatible, Invalid, NotFound
from schemas.models import OffsetRange
from schemas.outcomes import CommandRepeated
from schemas.topics import TOPICS, Topic

WORTH = 5_000
"""From so many events on it is quicker than the conversation."""
CHANGES = 100_000
"""So many are written to the snapshot at once; most change again soon."""
NEEDED = ("ce_id", "ce_subject", "causationid", "commandoffset")
HEADERS = (*NEEDED, "tenant", "aggregateversion", "fingerprint", EXPECTED_OFFSET)
UUID_TEXT = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"

logger = structlog.get_logger()


@dataclass(frozen=True)
class Piece:
    """Some records that count.

    Attributes:
        rows: one for each record, in the order of the log.
        events: of the same records.
        next_offset: where the next piece begins.
    """

    rows: pl.DataFrame
    events: Sequence[Any]
    next_offset: int


async def catch_up(
    settings: Settings, aggregate: Aggregate[Any, Any, Any], partition: int, decoder: Decoder, memory: Memory
) -> None:
    """Fold what the log has behind the memory's state, if that is much.

    Raises:
        Unavailable: Kafka or the registry does not answer.
        Damaged: the snapshot, which is asked for aggregates, cannot be read.
    """
    try:
        rest = await _rest(settings, aggregate.topic, partition, memory.state.next_offset)
        if rest is None:
            return
        async with aclosing(_pieces(settings, rest, decoder)) as pieces:
            async for piece in pieces:
                fold(memory.state, aggregate, piece)
                memory.keep(changes=CHANGES)
    except (Incompatible, Invalid, NotFound) as fault:
        logger.warning("log not read by columns", topic=aggregate.topic, partition=partition, cause=fault.detail)


async def _rest(settings: Settings, topic: str, partition: int, first: int) -> OffsetRange | None:
    for whole in await ranges_now(settings, {topic}):
        if whole.partition == partition and whole.end - first >= WORTH:
            return OffsetRange(topic=topic, partition=partition, first=first, end=whole.end)
    return None


async def _pieces(settings: Settings, rest: OffsetRange, decoder: Decoder) -> AsyncGenerator[Piece, None]:
    """Prepared on the loop: the native readers keep the interpreter's lock, a thread would only wait for it."""
    topic, at = TOPICS[rest.topic], rest.first
    async with open_client(settings, [rest.topic]) as client:
        async for fetched in fetch(client, settings, [rest]):
            at += fetched.passed
            rows = _rows(fetched, topic)
            await decoder.learn_ids(columns.schema_ids(rows))
            yield prepare(rows, at, decoder.codec)


def _rows(fetched: Fetched, topic: Topic) -> pl.DataFrame:
    return columns.counting(fetched.rows(HEADERS), topic)


def prepare(rows: pl.DataFrame, next_offset: int, codec: Codec) -> Piece:
    """Records that count as a piece.

    Args:
        rows: with the columns `HEADERS`.

    Raises:
        Incompatible: something in them cannot be read.
    """
    sound = pl.all_horizontal(pl.col(*NEEDED).is_not_null().all(), pl.col("causationid").str.contains(UUID_TEXT).all())
    if not rows.select(sound).item():
        raise Incompatible("an event has a header that is unusual", code="bad_headers")
    events: list[Any] = [None] * len(rows)
    numbered = rows.with_row_index("row")
    for (head,), some in numbered.group_by(pl.col("value").bin.slice(0, FRAME.size), maintain_order=True):
        for number, event in zip(some["row"].to_list(), _decoded(head, some["value"], codec), strict=True):
            events[number] = event
    return Piece(rows.drop("value"), events, next_offset)


def _decoded(head: bytes, values: pl.Series, codec: Codec) -> Iterable[Any]:
    """The events of one schema: through columns and JSON where that changes nothing, which is quickest by far."""
    name = codec.current(schema_id_of(head))
    if name is None or not _has_text(contracts()[name].schema):
        return map(codec.decode, values.to_list())
    try:
        return _reader(name).decode_lines(columns.together(head, values, name).write_ndjson())
    except msgspec.MsgspecError as fault:
        raise Incompatible(f"an event is not what its class says: {fault}", code="bad_bytes") from fault


def fold(state: Fold, aggregate: Aggregate[Any, Any, Any], piece: Piece) -> None:
    """Take the events of a piece into a state that is at rest.

    Raises:
        Incompatible: a number cannot be read; the state is as it was.
    """
    if piece.events:
        try:
            answers = _answers(state, piece)
            offset, id, command_offset = piece.rows.select("offset", "ce_id", "commandoffset").row(-1)
            last, next_command = Last(offset, UUID(id), piece.events[-1]), int(command_offset) + 1
        except ValueError as fault:
            raise Incompatible(f"a header cannot be read: {fault}", code="bad_headers") from fault
        state.aggregates.update(_evolved(state, aggregate, piece))
        state.answers.update(answers)
        state.last, state.next_command = last, next_command
    state.next_offset = piece.next_offset


def _identities(rows: pl.DataFrame) -> Iterator[Identity]:
    tenants = rows["tenant"].fill_null(DEFAULT_TENANT)
    return zip(tenants.to_list(), rows["ce_subject"].to_list(), strict=True)


def _evolved(state: Fold, aggregate: Aggregate[Any, Any, Any], piece: Piece) -> dict[Identity, Versioned]:
    """What becomes of the aggregates that these events are about."""
    found: dict[Identity, Versioned] = {}
    known, evolve, nothing = state.aggregate_cache, aggregate.evolve, Versioned(0, aggregate.initial)
    changed = known.changed
    for identity, event in zip(_identities(piece.rows), piece.events, strict=True):
        if type(event) not in OUTCOMES:
            version, before = found.get(identity) or changed.get(identity) or known.get(identity) or nothing
            found[identity] = Versioned(version + 1, evolve(before, event))
    return found


def _answers(state: Fold, piece: Piece) -> dict[bytes, Answer]:
    """First answers to commands that may come again."""
    cause = pl.col("causationid")
    answers = (
        piece.rows.with_row_index("row")
        .filter(columns.client_chosen(cause))
        .select(
            "row",
            cause.str.replace_all("-", "", literal=True).str.decode("hex"),
            "fingerprint",
            "offset",
            pl.col("aggregateversion").fill_null("0"),
        )
    )
    known, found = state.answer_cache, dict[bytes, Answer]()
    known.expect(answers["causationid"].to_list())
    for row, key, fingerprint, offset, version in answers.iter_rows():
        if not isinstance(piece.events[row], CommandRepeated):
            first = found.get(key) or known.get(key)
            found[key] = answer_of(piece.events[row], first, fingerprint, offset, int(version))
    return found


OUTCOMES = frozenset(class_of(contract) for name, contract in contracts().items() if is_outcome(name))


@cache
def _reader(name: str) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(class_of(contracts()[name]))


def _has_text(schema: Any) -> bool:
    """Whether values of an Avro schema go through JSON unchanged."""
    match schema:
        case "string" | "int" | "long" | "boolean":
            return True
        case [*branches]:
            others = [branch for branch in branches if branch != "null"]
            return len(others) == 1 and _has_text(others[0])
        case {"logicalType": _}:
            return False
        case {"type": "record", "fields": fields}:
            return all(_has_text(field["type"]) for field in fields)
        case {"type": "array", "items": items}:
            return _has_text(items)
        case {"type": "enum"}:
            return True
        case {"type": str(inner)}:
            return _has_text(inner)
        case _:
            return False
