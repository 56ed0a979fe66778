"""MovieLens-100K into the log, over HTTP like any other client's data."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from console.api import Answer, Api
from console.movielens import Film, MovieLens, Rating, Viewer

CONCURRENCY = 48
LINES_PER_CHUNK = 2_000


def user_command(viewer: Viewer) -> dict[str, Any]:
    """The body of the command that makes a person of the data set known."""
    attributes = {
        "age": str(viewer.age),
        "gender": viewer.gender,
        "occupation": viewer.occupation,
        "zip_code": viewer.zip_code,
    }
    return {"user_id": viewer.user_id, "attributes": attributes}


def item_command(film: Film) -> dict[str, Any]:
    """The body of the command that puts a film of the data set into the catalogue."""
    attributes = {} if film.year is None else {"year": str(film.year)}
    return {
        "item_id": film.item_id,
        "title": film.title,
        "categories": list(film.genres),
        "attributes": attributes,
    }


def interaction_line(rating: Rating) -> bytes:
    """A rating as a line of the bulk upload; its id makes a second upload harmless."""
    line = {
        "id": f"ml-100k:{rating.user_id}:{rating.item_id}",
        "user_id": rating.user_id,
        "item_id": rating.item_id,
        "kind": "rate",
        "value": rating.rating,
        "occurred_at": datetime.fromtimestamp(rating.occurred_at / 1_000_000, UTC).isoformat(),
    }
    return orjson.dumps(line) + b"\n"


async def send_people_and_films(api: Api, data: MovieLens, done: Callable[[], None]) -> dict[str, str]:
    """Register everybody and add every film, one command each; returns the newest position of each partition.

    Raises:
        Problem: a command was refused.
    """
    films = ((item_command(film), "/items", f"demo:item:{film.item_id}") for film in data.items)
    people = ((user_command(viewer), "/users", f"demo:user:{viewer.user_id}") for viewer in data.users)
    newest: dict[str, str] = {}
    for commands in (films, people):
        sends = (api.command("POST", path, body, key=key) for body, path, key in commands)
        async for answer in _bounded(sends, CONCURRENCY):
            _remember(newest, answer.position)
            done()
    return newest


async def send_ratings(api: Api, ratings: Sequence[Rating], sent: Callable[[int], None]) -> Answer:
    """Upload the ratings as one NDJSON body, streamed.

    Raises:
        Problem: the upload was refused as a whole.
    """

    async def body() -> AsyncIterator[bytes]:
        for chunk in _chunks(ratings, LINES_PER_CHUNK):
            yield b"".join(map(interaction_line, chunk))
            sent(len(chunk))

    return await api.call(
        api.settings.commands.url,
        "POST",
        "/interactions/bulk",
        data=body(),
        headers={"content-type": "application/x-ndjson"},
        timeout=None,
    )


def _chunks(ratings: Sequence[Rating], size: int) -> Iterator[Sequence[Rating]]:
    for start in range(0, len(ratings), size):
        yield ratings[start : start + size]


def _remember(newest: dict[str, str], position: str) -> None:
    """Keep the furthest position of each partition; positions read `topic/partition/offset`."""
    partition, _, offset = position.rpartition("/")
    known = newest.get(partition)
    if partition and (known is None or int(known.rpartition("/")[2]) < int(offset)):
        newest[partition] = position


async def _bounded(sends: Iterable[Coroutine[Any, Any, Answer]], limit: int) -> AsyncIterator[Answer]:
    """Answers of all sends, at most `limit` under way at once, in no particular order."""
    under_way: set[asyncio.Task[Answer]] = set()
    for send in sends:
        under_way.add(asyncio.create_task(send))
        if len(under_way) >= limit:
            finished, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                yield task.result()
    for answer in asyncio.as_completed(under_way):
        yield await answer
