"""What describes a person is sealed here, before the first log sees it: the command topic is a log as well."""

from typing import Any, NamedTuple

import orjson

from commands.api.carried import contract_named
from commands.api.identity import fingerprint_of
from commands.api.validation import Fields
from infra.personal.fields import needs_key, personal_in, sealed_fields
from infra.personal.files import erased
from infra.personal.keys import Keys
from infra.personal.seal import Person
from schemas.contracts import Contract

PERSON = "user_id"
"""Field that names a person: a contract whose key it is is about them."""


class Sealed(NamedTuple):
    """Fields as they may stand in a log.

    Attributes:
        fingerprint: hash of what was said before it was sealed, so that a repetition is recognised. Where that is
            personal, the hash is keyed with the person's key: nobody can guess the text from it, and after an erasure
            it says nothing at all.
    """

    fields: Fields
    fingerprint: str


class People:
    """Seals, and knows who was erased.

    Args:
        keys: of people; what this class needs them for fails with Unavailable while they are away.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._erased: set[Person] = set()

    async def open(self) -> None:
        """Read who was erased; those who are erased later are told by `erase`.

        Raises:
            Unavailable: the keys are away.
        """
        self._erased |= await self._keys.erased()

    def erase(self, tenant: str, user_id: str) -> None:
        """The log says that somebody was erased."""
        person = Person(tenant, user_id)
        self._keys.forget(person)
        self._erased.add(person)

    def is_erased(self, tenant: str, user_id: str) -> bool:
        """Whether somebody was erased."""
        return (tenant, user_id) in self._erased

    def refuse_erased(self, contract: Contract, tenant: str, fields: Fields) -> None:
        """Take no facts about somebody who was erased.

        Raises:
            Gone: it is about such a person.
        """
        if contract.key == PERSON and self.is_erased(tenant, fields[PERSON]):
            raise erased(fields[PERSON])

    async def sealed(self, contract: Contract, fields: Fields, tenant: str, *, trusted: bool = False) -> Sealed:
        """The fields with everything personal sealed, also in a command that they carry.

        Args:
            fields: as validated; limits are those of the plain text.
            trusted: whether they come from a log of ours, where some are sealed already. What a client says is never
                taken for sealed.

        Raises:
            Gone: the person was erased.
            Unavailable: the keys are away; nothing has been written.
        """
        if contract.carries is not None:
            return await self._carrying(contract, fields, tenant)
        plain = [name for name in personal_in(contract, fields) if not (trusted and needs_key(fields[name]))]
        if not plain:
            return Sealed(fields, fingerprint_of(contract.full_name, fields))
        person = Person(tenant, fields[contract.key or ""])
        if person in self._erased:
            raise erased(person.user_id)
        key = await self._keys.made(person)
        fingerprint = fingerprint_of(contract.full_name, fields, key.mac_key)
        return Sealed(
            fields | sealed_fields(contract, {name: fields[name] for name in plain}, person, key), fingerprint
        )

    async def _carrying(self, contract: Contract, fields: Fields, tenant: str) -> Sealed:
        assert contract.carries is not None
        named, held = contract.carries
        inner, given = contract_named(fields[named]), orjson.loads(fields[held])
        if not personal_in(inner, given):
            return Sealed(fields, fingerprint_of(contract.full_name, fields))
        key = await self._keys.made(Person(tenant, given[inner.key or ""]))
        data: dict[str, Any] = (await self.sealed(inner, given, tenant)).fields
        text = orjson.dumps(data, option=orjson.OPT_SORT_KEYS).decode()
        return Sealed(fields | {held: text}, fingerprint_of(contract.full_name, fields, key.mac_key))
