"""Single facts: validated, appended, answered with their position. No rule spans them, so nothing is decided."""

import asyncio
from typing import Any
from uuid import UUID

import orjson
from fastapi import Request, Response

from commands.api.admission import Admission
from commands.api.identity import fingerprint_of
from commands.api.personal import People
from commands.api.repeats import REPLAYED, Repeats
from commands.api.request import Intent
from commands.api.tail import Tail
from commands.api.validation import Fields, validator
from infra.kafka.facts import FactWriter
from infra.settings import Settings
from schemas.codec import Record, from_fields
from schemas.contracts import Contract
from schemas.envelope import Meta
from schemas.errors import Invalid, Unavailable
from schemas.identity import CLIENT_CHOSEN

ITEM = "item_id"


class Facts:
    """Appends single facts."""

    def __init__(
        self, settings: Settings, writer: FactWriter, tail: Tail, admission: Admission, people: People
    ) -> None:
        self._settings = settings
        self._writer = writer
        self._tail = tail
        self._admission = admission
        self._people = people
        self._repeats = Repeats()

    async def answer(self, request: Request, contract: Contract, given: Any, intent: Intent) -> Response:
        """Validate and append.

        Raises:
            Invalid: a field is wrong, the item is not in the catalogue, or the Idempotency-Key was used before.
            Gone: it is about somebody who was erased.
            Rejected: a request with the same Idempotency-Key is being worked on.
            Unavailable: Kafka did not confirm in time, or is too slow to be asked.
        """
        fields = validator(contract.full_name)(given)
        self._people.refuse_erased(contract, intent.tenant, fields)
        await self._know_item(intent.tenant, fields)
        fingerprint = fingerprint_of(contract.full_name, fields)
        meta = intent.meta(contract.full_name, fields[contract.key or ""], fingerprint)
        record = from_fields(contract.full_name, fields)
        if meta.id.version != CLIENT_CHOSEN:
            return _answered(contract, meta.id, await self._append(record, meta))
        with self._repeats.of(meta.id, fingerprint) as said:
            replayed = said.position is not None
            said.position = said.position or await self._append(record, meta)
            return _answered(contract, meta.id, said.position, replayed=replayed)

    async def _append(self, record: Record, meta: Meta) -> str:
        with self._admission.append():
            try:
                async with asyncio.timeout(self._settings.admission.confirm_s):
                    return str(await self._writer.append(record, meta))
            except (TimeoutError, Unavailable) as fault:
                raise Unavailable(
                    f"Kafka did not confirm the fact {meta.id} in time, and may still keep it: send it again with the "
                    "same Idempotency-Key, and it counts once",
                    extra={"command_id": str(meta.id)},
                ) from fault

    async def _know_item(self, tenant: str, fields: Fields) -> None:
        item_id = fields.get(ITEM)
        if item_id is None or self._tail.knows_item(tenant, item_id):
            return
        await self._tail.catch_up([item_id])  # it may have been added a moment ago
        if not self._tail.knows_item(tenant, item_id):
            raise unknown_item(item_id)


def _answered(contract: Contract, id: UUID, position: str, *, replayed: bool = False) -> Response:
    body = {"event_id": str(id), "event": contract.name, "position": position}
    headers = {"x-position": position} | ({REPLAYED: "true"} if replayed else {})
    return Response(orjson.dumps(body), 201, headers, "application/json")


def unknown_item(item_id: str) -> Invalid:
    """The catalogue does not have this item."""
    return Invalid(
        f"the catalogue has no item '{item_id}': add it first (POST /items)",
        code="unknown_item",
        errors=[{"pointer": f"/{ITEM}", "detail": "is not in the catalogue"}],
    )
