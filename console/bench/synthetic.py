"""People, items and what they do: made up, the same at every run, with the long tail that real catalogues have."""

import io
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Literal

import fastavro
import orjson

from schemas.catalog import ItemAdded
from schemas.codec import as_fields, parsed
from schemas.interactions import InteractionRecorded

USERS = 5_000
ITEMS = 500
KINDS: Sequence[Literal["view", "click", "rate", "purchase"]] = ("view", "view", "view", "click", "rate", "purchase")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def user_ids(count: int = USERS) -> list[str]:
    """Ids of people."""
    return [f"bench-user-{number}" for number in range(count)]


def item_ids(count: int = ITEMS) -> list[str]:
    """Ids of items, the most popular first."""
    return [f"bench-item-{number}" for number in range(count)]


def interactions(count: int, *, seed: int = 7) -> Iterator[InteractionRecorded]:
    """So many interactions, a second apart; items by Zipf's law."""
    chance = random.Random(seed)
    users, items = user_ids(), item_ids()
    weights = list(accumulate(1 / rank for rank in range(1, len(items) + 1)))
    for number in range(count):
        kind = chance.choice(KINDS)
        yield InteractionRecorded(
            user_id=chance.choice(users),
            item_id=chance.choices(items, cum_weights=weights)[0],
            kind=kind,
            value=float(chance.randint(1, 5)) if kind == "rate" else None,
            occurred_at=BEGIN + timedelta(seconds=number),
        )


def items(count: int, *, seed: int = 7) -> Iterator[ItemAdded]:
    """So many items with titles and descriptions of made-up words."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("abcdefghiklmnoprstuvw", k=chance.randint(3, 9))) for _ in range(2_000)]
    for number in range(count):
        yield ItemAdded(
            item_id=f"bench-item-{number}",
            title=" ".join(chance.choices(words, k=4)),
            description=" ".join(chance.choices(words, k=30)),
            categories=tuple(chance.sample(words[:20], 2)),
            attributes={"year": str(chance.randint(1950, 2026))},
        )


def ndjson(events: Sequence[InteractionRecorded], lines_per_chunk: int = 2_000) -> list[bytes]:
    """The events as the pieces of an NDJSON body."""
    return _chunks([orjson.dumps(_line(event)) + b"\n" for event in events], lines_per_chunk)


def csv(events: Sequence[InteractionRecorded], lines_per_chunk: int = 2_000) -> list[bytes]:
    """The events as the pieces of a CSV body."""
    rows = (
        f"{e.user_id},{e.item_id},{e.kind},{'' if e.value is None else e.value},{e.occurred_at.isoformat()}\n".encode()
        for e in events
    )
    return _chunks([b"user_id,item_id,kind,value,occurred_at\n", *rows], lines_per_chunk)


def avro(events: Sequence[InteractionRecorded], bytes_per_chunk: int = 1 << 18) -> list[bytes]:
    """The events as the pieces of an Avro object container."""
    file = io.BytesIO()
    fastavro.writer(file, parsed(InteractionRecorded.AVRO), map(as_fields, events))
    body = file.getvalue()
    return [body[start : start + bytes_per_chunk] for start in range(0, len(body), bytes_per_chunk)]


def _chunks(lines: Sequence[bytes], lines_per_chunk: int) -> list[bytes]:
    return [b"".join(lines[start : start + lines_per_chunk]) for start in range(0, len(lines), lines_per_chunk)]


def _line(event: InteractionRecorded) -> dict[str, object]:
    line: dict[str, object] = {
        "user_id": event.user_id,
        "item_id": event.item_id,
        "kind": event.kind,
        "occurred_at": event.occurred_at,
    }
    return line if event.value is None else line | {"value": event.value}
