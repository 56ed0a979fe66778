"""Facts by the million: a body that streams through, line by line, with bounded memory.

A bad line is reported and does not hold up the others. A line with an `id` counts once, however often it is sent. An
upload that the client names can be resumed: what is confirmed is on record in the log, and every line has an id.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import Any, Protocol

import orjson
import structlog
from fastapi import Request, Response
from starlette.requests import ClientDisconnect
from uuid6 import uuid7

from commands.api.bulk.content import content, cutter, media_type
from commands.api.bulk.cut import Cutter
from commands.api.bulk.digest import Prefix, changed
from commands.api.bulk.intake import Intake
from commands.api.bulk.ledger import Ledger
from commands.api.bulk.naming import Named, line_ids, named
from commands.api.bulk.progress import Progress
from commands.api.bulk.report import Report
from commands.api.bulk.track import EVERY_S, Track, taken_over
from commands.api.personal import People
from commands.api.repeats import REPLAYED
from commands.api.request import Intent
from commands.api.tail import Tail
from infra.ending import ended
from infra.kafka.bulk import BulkWriter, Upload
from infra.settings import Settings
from schemas.codec import Codec
from schemas.contracts import Contract
from schemas.errors import NotFound, Problem, Rejected, Unavailable
from schemas.uploads import UploadBegan

log = structlog.get_logger()


class Tracked(Protocol):
    """What remembers how far an upload is."""

    @property
    def accepted(self) -> int:
        """Lines on record."""

    @property
    def positions(self) -> list[str]:
        """Where the last record of each partition stands."""

    def passed(self, chunk: bytes, cutter: Cutter) -> None:
        """A chunk has been dealt with."""

    async def settle(self) -> None:
        """Put on record what has become durable."""

    async def close(self, *, complete: bool) -> None:
        """Put on record the last place."""


class Untracked:
    """An upload without a name: nothing is remembered of it."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    @property
    def accepted(self) -> int:
        """Lines on record."""
        return self._upload.confirmed

    @property
    def positions(self) -> list[str]:
        """Where the last record of each partition stands."""
        return [str(position) for position in self._upload.positions]

    def passed(self, chunk: bytes, cutter: Cutter) -> None:
        """Nothing to do."""

    async def settle(self) -> None:
        """Nothing to do."""

    async def close(self, *, complete: bool) -> None:
        """Nothing to do."""


class Bulk:
    """Takes uploads of one kind of fact."""

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        writer: BulkWriter,
        tail: Tail,
        people: People,
        ledger: Ledger,
        contract: Contract,
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._writer = writer
        self._tail = tail
        self._people = people
        self._ledger = ledger
        self._contract = contract
        self._running: set[tuple[str, str]] = set()

    async def answer(self, request: Request, intent: Intent) -> Response:
        """Append every good line, and say what is wrong with the others.

        Raises:
            Unsupported: a body that is neither NDJSON, CSV nor Avro, or compressed in an unknown way.
            Malformed: a header of the upload cannot be read, or the body is not compressed as it says.
            Invalid: the header of the file is wrong, a block is damaged, or the name belongs to another content.
            Rejected: an upload of this name is under way, or goes on at another place.
            TooLarge: the body is over the limit; the lines before it are kept, `accepted` counts them.
            Unavailable: Kafka did not confirm all of it.
        """
        kind, name = media_type(request), named(request.headers)
        if name is None:
            upload = self._writer.upload(self._contract.topic or "")
            return await self._received(request, intent, upload, Untracked(upload), Report(), kind, None, Progress())
        with self._alone(intent.tenant, name.upload_id):
            return await self._named(request, intent, kind, name)

    async def progress(self, tenant: str, upload_id: str) -> Response:
        """How far an upload is durable.

        Raises:
            NotFound: there is none of this name.
            Unavailable: Kafka does not answer.
        """
        progress = await self._ledger.of(tenant, upload_id)
        if progress is None:
            raise NotFound(f"there is no upload '{upload_id}'", code="unknown_upload")
        document = progress.document(upload_id, running=(tenant, upload_id) in self._running)
        headers = {
            "upload-offset": str(progress.start.size_bytes),
            "upload-complete": "?1" if progress.complete else "?0",
            "cache-control": "no-store",
        }
        return Response(orjson.dumps(document), 200, headers, "application/json")

    async def _named(self, request: Request, intent: Intent, kind: str, name: Named) -> Response:
        progress = await self._ledger.of(intent.tenant, name.upload_id) or Progress()
        _check(progress, kind, name)
        if progress.complete:
            return await self._replayed(request, name, progress)
        progress = await self._begun(intent, kind, name)
        if progress.complete:
            return await self._replayed(request, name, progress)
        upload = self._writer.upload(self._contract.topic or "")
        report = Report(progress.refused, progress.problems)
        track = Track(self._ledger, intent, name.upload_id, progress, upload, report)
        return await self._received(request, intent, upload, track, report, kind, name, progress)

    async def _begun(self, intent: Intent, kind: str, name: Named) -> Progress:
        """Begin an attempt; what the one before has confirmed by then counts, which may be more than a moment ago."""
        attempt = uuid7().hex
        began = UploadBegan(upload_id=name.upload_id, attempt=attempt, media_type=kind)
        await self._ledger.append(intent, [began])
        progress = await self._ledger.of(intent.tenant, name.upload_id) or Progress()
        if not progress.complete and progress.attempt != attempt:
            raise taken_over(name.upload_id)
        _check(progress, kind, name)
        return progress

    async def _replayed(self, request: Request, name: Named, progress: Progress) -> Response:
        pieces = _beyond(content(request, self._settings.max_bulk_bytes), name, progress)
        if await _first(pieces):
            raise changed(f"it was complete after {progress.start.size_bytes} bytes")
        return _answer(progress.accepted, progress.refused, progress.problems, progress.told, {REPLAYED: "true"})

    async def _received(
        self,
        request: Request,
        intent: Intent,
        upload: Upload,
        track: Tracked,
        report: Report,
        kind: str,
        name: Named | None,
        progress: Progress,
    ) -> Response:
        id_of = None if name is None else line_ids(intent.tenant, name.upload_id)
        intake = Intake(self._contract, self._codec, self._tail, self._people, upload, intent, report, id_of)
        pieces = _beyond(content(request, self._settings.max_bulk_bytes), name, progress)
        ends = name is None or name.ends
        try:
            lines = cutter(kind, self._contract, self._settings, progress.start)
            await _read(pieces, lines, intake, track, ends=ends)
            await upload.finish()
            await track.close(complete=ends)
        except ClientDisconnect:
            await _interrupted(upload, track)
            log.warning("upload broke off", accepted=track.accepted, refused=report.refused)
            return Response(status_code=499)
        except Problem as problem:
            await _interrupted(upload, track)
            problem.extra |= {"accepted": track.accepted, "refused": report.refused}
            raise
        return _answer(track.accepted, report.refused, report.problems, track.positions)

    @contextmanager
    def _alone(self, tenant: str, upload_id: str) -> Iterator[None]:
        if (tenant, upload_id) in self._running:
            raise taken_over(upload_id)
        self._running.add((tenant, upload_id))
        try:
            yield
        finally:
            self._running.discard((tenant, upload_id))


async def _read(
    pieces: AsyncGenerator[bytes, None], lines: Cutter, intake: Intake, track: Tracked, *, ends: bool
) -> None:
    async with aclosing(pieces):
        while (piece := await _next(pieces, lines, track)) is not None:
            await intake.take(lines.feed(piece))
            track.passed(piece, lines)
            await track.settle()
    if ends:
        await intake.take(lines.end())
        track.passed(b"", lines)


async def _next(pieces: AsyncGenerator[bytes, None], lines: Cutter, track: Tracked) -> bytes | None:
    """The next piece, None at the end; while a client pauses, what becomes durable is put on record."""
    coming = asyncio.ensure_future(anext(pieces, None))
    try:
        while not (await asyncio.wait((coming,), timeout=EVERY_S))[0]:
            track.passed(b"", lines)
            await track.settle()
        return coming.result()
    finally:
        await ended(coming)


async def _interrupted(upload: Upload, track: Tracked) -> None:
    """Put on record what can be; a fault of Kafka is told by whoever noticed it first."""
    with suppress(Unavailable, Rejected):
        await upload.finish()
        await track.close(complete=False)


async def _beyond(
    pieces: AsyncGenerator[bytes, None], name: Named | None, progress: Progress
) -> AsyncGenerator[bytes, None]:
    """What comes after the confirmed part; a client that sends it again has it compared and skipped."""
    whole = name is not None and name.offset is None
    prefix = Prefix(progress.places if whole else (), progress.digest)
    async with aclosing(pieces):
        async for piece in pieces:
            if rest := piece if prefix.passed else prefix.feed(piece):
                yield rest
    prefix.end()


async def _first(pieces: AsyncGenerator[bytes, None]) -> bytes:
    async with aclosing(pieces):
        return await anext(pieces, b"")


def _check(progress: Progress, kind: str, name: Named) -> None:
    if progress.media_type and progress.media_type != kind:
        raise changed(f"it was {progress.media_type} before")
    if name.offset is not None and name.offset != progress.start.size_bytes:
        raise Rejected(
            f"upload '{name.upload_id}' goes on at byte {progress.start.size_bytes} of the content, not {name.offset}",
            code="upload_offset_mismatch",
            extra={"expected_offset": progress.start.size_bytes},
        )


def _answer(
    accepted: int,
    refused: int,
    problems: Any,
    positions: Any,
    headers: Mapping[str, str] | None = None,
) -> Response:
    body = {"accepted": accepted, "refused": refused, "problems": problems, "positions": positions}
    return Response(orjson.dumps(body), 200, {"x-position": ",".join(positions), **(headers or {})}, "application/json")
