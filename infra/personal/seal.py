"""Personal texts under the key of the person whom they describe: AES-256-GCM, as a text that any string field takes.

A nonce is 96 random bits, drawn anew for each text. That is safe for up to 2**32 texts under one key, and a key belongs
to one person, of whom a handful of texts is ever written.

Source: NIST SP 800-38D, sections 8.2.2 and 8.3.
"""

import base64
import binascii
import hmac
import os
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.errors import Incompatible

PREFIX = "enc:1:"
"""Marks a sealed text. What was written before there were keys does not have it, and is read as it is."""

NONCE_BYTES = 12
KEY_BYTES = 32


class Person(NamedTuple):
    """Whom something describes: two tenants may use the same id for two people."""

    tenant: str
    user_id: str


@dataclass(frozen=True)
class PersonKey:
    """The key of one person.

    Attributes:
        id: tells it from any other.
        secret: `KEY_BYTES` random bytes.
    """

    id: str
    secret: bytes = field(repr=False)

    @cached_property
    def mac_key(self) -> bytes:
        """For hashes of personal texts, which nobody may be able to guess the text from."""
        return hmac.digest(self.secret, b"retrace fingerprint", sha256)

    @cached_property
    def cipher(self) -> AESGCM:
        """AES-GCM under the secret."""
        return AESGCM(self.secret)


def is_sealed(text: str) -> bool:
    """Whether a text of the log or of a read model is sealed.

    A client's text is always sealed before it comes to a log, so one that begins like this is no different from others.
    """
    return text.startswith(PREFIX)


def seal(key: PersonKey, person: Person, name: str, text: str) -> str:
    """A text that only this key opens, and only as this field of this person.

    Args:
        name: of the field; another field or person does not take the sealed text.
    """
    nonce = os.urandom(NONCE_BYTES)
    sealed = key.cipher.encrypt(nonce, text.encode(), _bound(key.id, person, name))
    return f"{PREFIX}{key.id}:{base64.urlsafe_b64encode(nonce + sealed).decode()}"


def unseal(key: PersonKey, person: Person, name: str, sealed: str) -> str:
    """The text.

    Raises:
        Incompatible: it was not sealed under this key, for another person or field, or was changed.
    """
    key_id, _, data = sealed.removeprefix(PREFIX).partition(":")
    try:
        raw = base64.urlsafe_b64decode(data)
        return key.cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound(key_id, person, name)).decode()
    except (binascii.Error, InvalidTag, ValueError) as fault:
        raise Incompatible(
            f"{name} of user '{person.user_id}' does not open with key {key.id}: it was sealed under another, for "
            "somebody else, or has been changed",
            code="does_not_open",
        ) from fault


def _bound(key_id: str, person: Person, name: str) -> bytes:
    return orjson.dumps(["retrace/1", key_id, *person, name])
