"""Single facts: validated, appended, answered with their position. No rule spans them, so nothing is decided."""

import asyncio
from typing import Any

import orjson
from fastapi import Request, Response

from commands.api.identity import fingerprint_of
from commands.api.request import Intent
from commands.api.tail import Tail
from commands.api.validation import Fields, validator
from infra.kafka.facts import FactWriter
from infra.settings import Settings
from schemas.codec import from_fields
from schemas.contracts import Contract
from schemas.errors import Invalid, Unavailable

ITEM = "item_id"


class Facts:
    """Appends single facts."""

    def __init__(self, settings: Settings, writer: FactWriter, tail: Tail) -> None:
        self._settings = settings
        self._writer = writer
        self._tail = tail

    async def answer(self, request: Request, contract: Contract, given: Any, intent: Intent) -> Response:
        """Validate and append.

        Raises:
            Invalid: a field is wrong, or the item is not in the catalogue.
            Unavailable: Kafka did not confirm in time.
        """
        fields = validator(contract.full_name)(given)
        await self._know_item(fields)
        meta = intent.meta(contract.full_name, fields[contract.key or ""], fingerprint_of(contract.full_name, fields))
        record = from_fields(contract.full_name, fields)
        try:
            position = await asyncio.wait_for(self._writer.append(record, meta), self._settings.answer_timeout_s)
        except TimeoutError:
            raise Unavailable(
                "Kafka did not confirm the append in time; it may still happen: send it again with an "
                "Idempotency-Key, and it counts once"
            ) from None
        body = {"event_id": str(meta.id), "event": contract.name, "position": str(position)}
        return Response(orjson.dumps(body), 201, {"x-position": str(position)}, "application/json")

    async def _know_item(self, fields: Fields) -> None:
        item_id = fields.get(ITEM)
        if item_id is None or self._tail.knows_item(item_id):
            return
        await self._tail.catch_up([item_id])  # it may have been added a moment ago
        if not self._tail.knows_item(item_id):
            raise unknown_item(item_id)


def unknown_item(item_id: str) -> Invalid:
    """The catalogue does not have this item."""
    return Invalid(
        f"the catalogue has no item '{item_id}': add it first (POST /items)",
        code="unknown_item",
        errors=[{"pointer": f"/{ITEM}", "detail": "is not in the catalogue"}],
    )
