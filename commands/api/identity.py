"""Ids of commands and facts: the client's own when it chose one, else new and in the order of time."""

import os
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b, sha1
from uuid import UUID, uuid5

import orjson
from uuid6 import uuid7

from commands.api.validation import Fields
from schemas.identity import TENANTS, as_uuid5, derived_id

LONGEST_KEY = 200


def id_for(tenant: str, key: str | None) -> UUID:
    """UUIDv5 of tenant and key, or a UUIDv7 when there is no key."""
    return UUID(int=uuid7().int) if key is None else derived_id(tenant, key)


def deriver(tenant: str) -> Callable[[str], str]:
    """`derived_id` of one tenant as text, for many keys: it hashes the tenant once and makes no UUID objects.

    Source: RFC 9562, section 5.5.
    """
    prefix = sha1(uuid5(TENANTS, tenant).bytes, usedforsecurity=False)

    def derive(key: str) -> str:
        digest = prefix.copy()
        digest.update(key.encode())
        return as_uuid5(digest.hexdigest())

    return derive


def many_ids() -> Iterator[str]:
    """UUIDv7s made a thousand at a time from one random number: quicker, and rising within the thousand.

    Source: RFC 9562, section 6.2, method 2.
    """
    while True:
        millis = time.time_ns() // 1_000_000
        tail = int.from_bytes(os.urandom(7))
        for step in range(1000):
            low = (tail + step * 0x1_0000_0001) & 0x3FFF_FFFF_FFFF_FFFF
            text = f"{(millis << 16) | 0x7000 | (step << 2):016x}{0x8000_0000_0000_0000 | low:016x}"
            yield f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def fingerprint_of(type_: str, fields: Fields, key: bytes = b"") -> str:
    """Hash of what a command says, so that its id used for another body is noticed.

    Args:
        key: of the person whom it describes; without one, whoever reads the hash may guess a short text from it.
    """
    text = orjson.dumps([type_, fields], option=orjson.OPT_SORT_KEYS, default=str)
    return blake2b(text, digest_size=12, key=key).hexdigest()
