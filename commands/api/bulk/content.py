"""The content of a body: what it is, no longer compressed, and not more of it than allowed."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from fastapi import Request

from commands.api.bulk.avro import Container
from commands.api.bulk.cut import Cutter, Start
from commands.api.bulk.inflate import IDENTITY, Inflate
from commands.api.bulk.lines import Lines
from commands.api.bulk.table import Table
from infra.settings import Settings
from schemas.contracts import Contract
from schemas.errors import TimedOut, TooLarge, Unsupported

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
CSV = "text/csv"
AVRO = ("application/avro", "avro/binary", "application/vnd.apache.avro")
IDLE_S = 60.0
"""After so long without a byte a client is taken for gone, so that it may try again."""


def media_type(request: Request) -> str:
    """The form of the content, by one name for each.

    Raises:
        Unsupported: nobody reads it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    for names in (NDJSON, (CSV,), AVRO):
        if kind in names:
            return names[0]
    raise Unsupported(f"send Content-Type: {NDJSON[0]}, {CSV} or {AVRO[0]}, not '{kind[:100]}'")


def cutter(kind: str, contract: Contract, settings: Settings, start: Start) -> Cutter:
    """What reads this form of content.

    Raises:
        Invalid: the header that was confirmed no longer fits.
    """
    if kind == AVRO[0]:
        return Container(contract, start)
    if kind == CSV:
        return Table(contract, settings.max_body_bytes, start)
    return Lines(settings.max_body_bytes, start)


async def content(request: Request, limit_bytes: int) -> AsyncGenerator[bytes, None]:
    """The content, piece by piece.

    Raises:
        TooLarge: it is over the limit, compressed or not, or a decompression bomb.
        Malformed: it is not compressed as Content-Encoding says.
        Unsupported: nobody undoes that encoding.
        TimedOut: nothing came for a long time.
    """
    too_large = TooLarge(f"the upload is over {limit_bytes} bytes: send it in parts; `accepted` says how far it came")
    if int(request.headers.get("content-length") or 0) > limit_bytes:
        raise too_large
    encoding = request.headers.get("content-encoding", "").strip().lower()
    inflate = None if encoding in IDENTITY else Inflate(encoding)
    size = 0
    async with aclosing(_arriving(request)) as chunks:
        async for chunk in chunks:
            for piece in _plain(inflate, chunk):
                size += len(piece)
                if size > limit_bytes:
                    raise too_large
                yield piece
    if inflate is not None:
        inflate.end()


def _plain(inflate: Inflate | None, chunk: bytes) -> Iterator[bytes]:
    return iter((chunk,)) if inflate is None else inflate.feed(chunk)


async def _arriving(request: Request) -> AsyncGenerator[bytes, None]:
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise _stalled() from None
        yield chunk


def _stalled() -> TimedOut:
    problem = TimedOut(f"nothing came for {IDLE_S:.0f} s: ask how far the upload is, and go on", code="upload_stalled")
    problem.status = 408
    return problem
