"""One upload under way: lines in, records out, problems noted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from commands.api.bulk.lines import ID, Parse, csv_parser
from commands.api.identity import LONGEST_KEY, deriver, many_ids
from commands.api.request import Intent
from commands.api.tail import Tail
from commands.api.validation import Fault, Fields, validator
from infra.kafka.bulk import Upload
from schemas.codec import Codec
from schemas.contracts import Contract

REPORTED = 100
BURST = 250
"""Lines between two chances for other requests."""


@dataclass
class Report:
    """What is wrong with an upload: the first problems, and how many lines were refused."""

    refused: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, line: int, code: str, *faults: Fault) -> None:
        """One line is left out, for one or several faults."""
        self.refused += 1
        room = REPORTED - len(self.problems)
        self.problems += [{"line": line, "code": code, **fault.error()} for fault in faults[:room]]


class Good(NamedTuple):
    """A line that is as it should be."""

    number: int
    id: str
    fields: Fields


class Intake:
    """Reads lines, checks them, and hands the good ones to the upload.

    Args:
        parse: how to read a line; None when the first line has yet to say it (CSV).
    """

    def __init__(
        self,
        contract: Contract,
        codec: Codec,
        tail: Tail,
        upload: Upload,
        intent: Intent,
        parse: Parse | None,
    ) -> None:
        self.upload = upload
        self.report = Report()
        self._contract = contract
        self._codec = codec
        self._tail = tail
        self._parse = parse
        self._check = validator(contract.full_name).check
        self._key = contract.key or ""
        self._ids = many_ids()
        self._derive = deriver(intent.tenant)
        self._tenant = intent.tenant
        common = intent.meta(contract.full_name, "", None).headers()
        self._headers: list[tuple[str, str | bytes | None]] = [
            *(header for header in common if header[0] not in ("ce_id", "ce_subject"))
        ]

    async def take(self, lines: Iterator[tuple[int, bytes | None]]) -> None:
        """Append the good ones among these lines, in their order.

        Raises:
            Invalid: the header of a CSV is wrong.
            Unavailable: Kafka did not confirm in time.
        """
        while burst := list(islice(lines, BURST)):
            good = [read for number, line in burst if (read := self._read(number, line)) is not None]
            for line in await self._of_known_items(good):
                self._send(line)
            await self.upload.room()

    def _read(self, number: int, line: bytes | None) -> Good | None:
        if line is None:
            self.report.refuse(number, "line_too_long", Fault("is longer than a line may be"))
            return None
        if self._parse is None:
            self._parse = csv_parser(line, self._contract)
            return None
        try:
            given = self._parse(line)
            id = self._id_of(given)
        except Fault as fault:
            self.report.refuse(number, "invalid" if fault.path else "malformed_line", fault)
            return None
        fields, faults = self._check(given)
        if faults:
            self.report.refuse(number, "invalid", *faults)
            return None
        return Good(number, id, fields)

    def _id_of(self, given: dict[str, Any]) -> str:
        id = given.pop(ID, None)
        if id is None:
            return next(self._ids)
        if type(id) is not str or not 0 < len(id) <= LONGEST_KEY:
            raise Fault(f"must be a string of 1 to {LONGEST_KEY} characters", (ID,))
        return self._derive(id)

    async def _of_known_items(self, read: Sequence[Good]) -> Sequence[Good]:
        knows = partial(self._tail.knows_item, self._tenant)
        unknown = {line.fields["item_id"] for line in read if not knows(line.fields["item_id"])}
        if not unknown:
            return read
        await self._tail.catch_up(sorted(unknown))  # they may have been added a moment ago
        for line in read:
            if not knows(line.fields["item_id"]):
                self.report.refuse(line.number, "unknown_item", Fault("is not in the catalogue", ("item_id",)))
        return [line for line in read if knows(line.fields["item_id"])]

    def _send(self, line: Good) -> None:
        key = line.fields[self._key]
        headers = [*self._headers, ("ce_id", line.id.encode()), ("ce_subject", key.encode())]
        self.upload.send(key, self._codec.encode_fields(self._contract.full_name, line.fields), headers)
