"""One upload under way: lines in, records out, problems noted."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from commands.api.bulk.cut import Bad, Cut
from commands.api.bulk.report import Report
from commands.api.bulk.table import ID
from commands.api.identity import LONGEST_KEY, deriver, many_ids
from commands.api.personal import People
from commands.api.request import Intent
from commands.api.tail import Tail
from commands.api.validation import Fault, Fields, validator
from infra.kafka.bulk import Upload
from schemas.codec import FRAME, Codec
from schemas.contracts import Contract

BURST = 250
"""Lines between two chances for other requests."""


class Good(NamedTuple):
    """A line that is as it should be.

    Attributes:
        id: that the client gave to it; None when it gave none.
    """

    number: int
    id: str | None
    fields: Fields


class Intake:
    """Checks lines, and hands the good ones to the upload.

    Args:
        id_of: makes the id of a line that has none, from its number and its encoded content; None for new ids.
    """

    def __init__(
        self,
        contract: Contract,
        codec: Codec,
        tail: Tail,
        people: People,
        upload: Upload,
        intent: Intent,
        report: Report,
        id_of: Callable[[int, bytes], str] | None,
    ) -> None:
        self._upload = upload
        self._report = report
        self._contract = contract
        self._codec = codec
        self._tail = tail
        self._people = people
        self._check = validator(contract.full_name).check
        self._key = contract.key or ""
        self._ids = many_ids()
        self._id_of = id_of
        self._derive = deriver(intent.tenant)
        self._tenant = intent.tenant
        common = intent.meta(contract.full_name, "", None).headers()
        self._headers: list[tuple[str, str | bytes | None]] = [
            *(header for header in common if header[0] not in ("ce_id", "ce_subject"))
        ]

    async def take(self, lines: Iterator[Cut]) -> None:
        """Append the good ones among these lines, in their order.

        Raises:
            Invalid: nothing of the rest can be read.
            Unavailable: Kafka did not confirm in time.
        """
        while burst := list(islice(lines, BURST)):
            good = [read for number, given in burst if (read := self._read(number, given)) is not None]
            for line in await self._of_known_items(good):
                self._send(line)
            await self._upload.room()

    def _read(self, number: int, given: dict[str, Any] | Bad) -> Good | None:
        if isinstance(given, Bad):
            self._report.refuse(number, given.code, given.fault)
            return None
        id = given.pop(ID, None)
        if id is not None and (type(id) is not str or not 0 < len(id) <= LONGEST_KEY):
            fault = Fault(f"must be a string of 1 to {LONGEST_KEY} characters", (ID,))
            self._report.refuse(number, "invalid", fault)
            return None
        fields, faults = self._check(given)
        if faults:
            self._report.refuse(number, "invalid", *faults)
            return None
        if self._people.is_erased(self._tenant, fields[self._key]):
            self._report.refuse(number, "erased_user", Fault("has been erased for good", (self._key,)))
            return None
        return Good(number, None if id is None else self._derive(id), fields)

    async def _of_known_items(self, read: Sequence[Good]) -> Sequence[Good]:
        knows = partial(self._tail.knows_item, self._tenant)
        unknown = {line.fields["item_id"] for line in read if not knows(line.fields["item_id"])}
        if not unknown:
            return read
        await self._tail.catch_up(sorted(unknown))  # they may have been added a moment ago
        for line in read:
            if not knows(line.fields["item_id"]):
                self._report.refuse(line.number, "unknown_item", Fault("is not in the catalogue", ("item_id",)))
        return [line for line in read if knows(line.fields["item_id"])]

    def _send(self, line: Good) -> None:
        key = line.fields[self._key]
        value = self._codec.encode_fields(self._contract.full_name, line.fields)
        id = line.id or (self._id_of(line.number, value[FRAME.size :]) if self._id_of else next(self._ids))
        headers = [*self._headers, ("ce_id", id.encode()), ("ce_subject", key.encode())]
        self._upload.send(key, value, headers)
