"""Facts by the million: a body that streams through, line by line, with bounded memory.

A bad line is reported and does not hold up the others. A line with an `id` counts once, however often it is sent.
"""

from collections.abc import AsyncIterator

import orjson
import structlog
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from commands.api.bulk.intake import Intake
from commands.api.bulk.lines import Splitter, parse_json
from commands.api.request import Intent
from commands.api.tail import Tail
from infra.kafka.bulk import BulkWriter
from infra.settings import Settings
from schemas.codec import Codec
from schemas.contracts import Contract
from schemas.errors import Problem, TooLarge, Unsupported

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
CSV = "text/csv"

log = structlog.get_logger()


class Bulk:
    """Takes uploads of one kind of fact."""

    def __init__(self, settings: Settings, codec: Codec, writer: BulkWriter, tail: Tail, contract: Contract) -> None:
        self._settings = settings
        self._codec = codec
        self._writer = writer
        self._tail = tail
        self._contract = contract

    async def answer(self, request: Request, intent: Intent) -> Response:
        """Append every good line, and say what is wrong with the others.

        Raises:
            Unsupported: neither NDJSON nor CSV.
            Invalid: the header of a CSV is wrong.
            TooLarge: the body is over the limit; the lines before it are kept, `accepted` counts them.
            Unavailable: Kafka did not confirm all of it.
        """
        intake = self._intake(request, intent)
        try:
            await self._read(request, intake)
        except ClientDisconnect:
            await intake.upload.finish()
            log.warning("upload broke off", accepted=intake.upload.confirmed, refused=intake.report.refused)
            return Response(status_code=499)
        except Problem as problem:
            await intake.upload.finish()
            problem.extra |= {"accepted": intake.upload.confirmed, "refused": intake.report.refused}
            raise
        return _answer(intake)

    def _intake(self, request: Request, intent: Intent) -> Intake:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (*NDJSON, CSV):
            raise Unsupported(f"send Content-Type: {NDJSON[0]} or {CSV}, not '{kind[:100]}'")
        upload = self._writer.upload(self._contract.topic or "")
        parse = None if kind == CSV else parse_json
        return Intake(self._contract, self._codec, self._tail, upload, intent, parse)

    async def _read(self, request: Request, intake: Intake) -> None:
        splitter = Splitter(self._settings.max_body_bytes)
        async for chunk in self._chunks(request):
            await intake.take(splitter.feed(chunk))
        await intake.take(splitter.end())
        await intake.upload.finish()

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        limit = self._settings.max_bulk_bytes
        too_large = TooLarge(f"the upload is over {limit} bytes: send it in parts; `accepted` says how far it came")
        if int(request.headers.get("content-length") or 0) > limit:
            raise too_large
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise too_large
            yield chunk


def _answer(intake: Intake) -> Response:
    positions = [str(position) for position in intake.upload.positions]
    body = {
        "accepted": intake.upload.confirmed,
        "refused": intake.report.refused,
        "problems": intake.report.problems,
        "positions": positions,
    }
    return Response(orjson.dumps(body), 200, {"x-position": ",".join(positions)}, "application/json")
