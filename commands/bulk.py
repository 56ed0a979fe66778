"""Facts by the million: a body that streams through, line by line, with bounded memory.

A bad line is reported and does not hold up the others. A line with an `id` counts once, however often it is sent.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson
import structlog
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from commands.identity import LONGEST_KEY, deriver, many_ids
from commands.lines import ID, Parse, Splitter, csv_parser, parse_json
from commands.request import Intent
from commands.tail import Tail
from commands.validation import Fault, Fields, validator
from infra.kafka.bulk import BulkWriter, Upload
from infra.settings import Settings
from schemas.codec import Codec
from schemas.contracts import Contract
from schemas.errors import Problem, TooLarge, Unsupported

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
CSV = "text/csv"
REPORTED = 100
BURST = 250
"""Lines between two chances for other requests."""

log = structlog.get_logger()


@dataclass
class Report:
    """What is wrong with an upload: the first problems, and how many there are."""

    refused: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)

    def add(self, line: int, code: str, fault: Fault) -> None:
        """One problem; a line may have several but is refused once."""
        if len(self.problems) < REPORTED:
            self.problems.append({"line": line, "code": code, **fault.error()})


class Bulk:
    """Takes uploads of one kind of fact."""

    def __init__(self, settings: Settings, codec: Codec, writer: BulkWriter, tail: Tail, contract: Contract) -> None:
        self._settings = settings
        self._codec = codec
        self._writer = writer
        self._tail = tail
        self._contract = contract
        self._check = validator(contract.full_name).check

    async def answer(self, request: Request, intent: Intent) -> Response:
        """Append every good line, and say what is wrong with the others.

        Raises:
            Unsupported: neither NDJSON nor CSV.
            Invalid: the header of a CSV is wrong.
            TooLarge: the body is over the limit; the lines before it are kept, `extra` counts them.
            Unavailable: Kafka did not confirm all of it.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (*NDJSON, CSV):
            raise Unsupported(f"send Content-Type: {NDJSON[0]} or {CSV}, not '{kind[:100]}'")
        upload = self._writer.upload(self._contract.topic or "")
        report = Report()
        try:
            await self._run(_Run(self, upload, report, intent, kind), request)
        except ClientDisconnect:
            log.warning("upload broke off", sent=upload.confirmed, refused=report.refused)
            await upload.finish()
            return Response(status_code=499)
        except Problem as problem:
            await upload.finish()
            problem.extra |= {"accepted": upload.confirmed, "refused": report.refused}
            raise
        return _answer(upload, report)

    async def _run(self, run: "_Run", request: Request) -> None:
        splitter = Splitter(self._settings.max_body_bytes)
        async for chunk in self._chunks(request):
            await run.take(splitter.feed(chunk))
        await run.take(splitter.end())
        await run.upload.finish()

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

    def check(self, fields: dict[str, Any]) -> tuple[Fields, list[Fault]]:
        """Validate one line."""
        return self._check(fields)

    def encode(self, fields: Fields) -> bytes:
        """The value of the record."""
        return self._codec.encode_fields(self._contract.full_name, fields)

    @property
    def contract(self) -> Contract:
        """What a line has to be."""
        return self._contract

    @property
    def tail(self) -> Tail:
        """Knows the catalogue."""
        return self._tail


class _Run:
    """One upload under way."""

    def __init__(self, bulk: Bulk, upload: Upload, report: Report, intent: Intent, kind: str) -> None:
        self.upload = upload
        self._bulk = bulk
        self._report = report
        self._derive = deriver(intent.tenant)
        self._parse: Parse | None = None if kind == CSV else parse_json
        self._key = bulk.contract.key or ""
        self._ids = many_ids()
        meta = intent.meta(bulk.contract.full_name, "", None)
        self._headers: list[tuple[str, str | bytes | None]] = [
            *(header for header in meta.headers() if header[0] not in ("ce_id", "ce_subject"))
        ]

    async def take(self, lines: Iterator[tuple[int, bytes | None]]) -> None:
        """Append the good ones among these lines, in their order."""
        while burst := list(islice(lines, BURST)):
            good = [read for number, line in burst if (read := self._read(number, line)) is not None]
            for _, id, fields in await self._of_known_items(good):
                self._send(id, fields)
            await self.upload.room()

    def _read(self, number: int, line: bytes | None) -> tuple[int, str, Fields] | None:
        if line is None:
            self._refuse(number, "line_too_long", Fault("is longer than a line may be"))
            return None
        if self._parse is None:
            self._parse = csv_parser(line, self._bulk.contract)
            return None
        try:
            given = self._parse(line)
            id = self._id_of(given)
        except Fault as fault:
            self._refuse(number, "invalid" if fault.path else "malformed_line", fault)
            return None
        fields, faults = self._bulk.check(given)
        if faults:
            self._refuse(number, "invalid", *faults)
            return None
        return number, id, fields

    def _id_of(self, given: dict[str, Any]) -> str:
        id = given.pop(ID, None)
        if id is None:
            return next(self._ids)
        if type(id) is not str or not 0 < len(id) <= LONGEST_KEY:
            raise Fault(f"must be a string of 1 to {LONGEST_KEY} characters", (ID,))
        return self._derive(id)

    async def _of_known_items(self, read: Sequence[tuple[int, str, Fields]]) -> Sequence[tuple[int, str, Fields]]:
        knows = self._bulk.tail.knows_item
        unknown = {fields["item_id"] for _, _, fields in read if not knows(fields["item_id"])}
        if not unknown:
            return read
        await self._bulk.tail.catch_up(sorted(unknown))
        known = []
        for line in read:
            if knows(line[2]["item_id"]):
                known.append(line)
            else:
                self._refuse(line[0], "unknown_item", Fault("is not in the catalogue", ("item_id",)))
        return known

    def _refuse(self, number: int, code: str, *faults: Fault) -> None:
        self._report.refused += 1
        for fault in faults:
            self._report.add(number, code, fault)

    def _send(self, id: str, fields: Fields) -> None:
        key = fields[self._key]
        headers = [*self._headers, ("ce_id", id.encode()), ("ce_subject", key.encode())]
        self.upload.send(key, self._bulk.encode(fields), headers)


def _answer(upload: Upload, report: Report) -> Response:
    positions = [str(position) for position in upload.positions]
    body = {
        "accepted": upload.confirmed,
        "refused": report.refused,
        "problems": report.problems,
        "positions": positions,
    }
    return Response(orjson.dumps(body), 200, {"x-position": ",".join(positions)}, "application/json")
