"""API keys as text: `rt_<id>_<secret>_<checksum>`, each part in base 62.

The id names the key in lists, logs and events. The secret has 256 bits of randomness, so its hash cannot be searched
for: SHA-256 is enough, and a slow password hash would only make every request slow. The checksum tells a mistyped key
from an unknown one without a look-up, and lets scanners for leaked secrets be sure of what they have found.
"""

import re
import secrets
from hashlib import sha256
from typing import NamedTuple
from zlib import crc32

from schemas.errors import Unknown

PREFIX = "rt"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 12, 43, 6
"""62^43 is more than 2^256, 62^6 more than 2^32."""

FORM = re.compile(
    rf"{PREFIX}_([0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH}}}_[0-9A-Za-z]{{{CHECKSUM_LENGTH}}}"
)
"""What a secret scanner looks for."""


class ApiKey(NamedTuple):
    """A key as its holder has it.

    Attributes:
        id: the part that may be shown.
        text: the whole, to be kept secret.
    """

    id: str
    text: str

    @property
    def sha256(self) -> str:
        """What is kept of it."""
        return sha256(self.text.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"ApiKey({self.id})"


def new_key(id: str | None = None) -> ApiKey:
    """A key that nobody has had; with `id` another secret for the same key."""
    id = id or _random(ID_LENGTH)
    body = f"{PREFIX}_{id}_{_digits(secrets.randbits(256), SECRET_LENGTH)}"
    return ApiKey(id, f"{body}_{_checksum(body)}")


def parse(text: str) -> ApiKey:
    """A key as it was sent.

    Raises:
        Unknown: it has another form, or was mistyped.
    """
    form = FORM.fullmatch(text)
    if form is None:
        raise Unknown(
            f"an API key has the form {PREFIX}_ID_SECRET_CHECKSUM with {ID_LENGTH}, {SECRET_LENGTH} and "
            f"{CHECKSUM_LENGTH} letters and digits: send it whole, as it was shown",
            code="malformed_key",
        )
    body, _, checksum = text.rpartition("_")
    if _checksum(body) != checksum:
        raise Unknown(
            "the checksum of this API key is wrong, so it was mistyped or cut: copy it again", code="mistyped_key"
        )
    return ApiKey(form[1], text)


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    return _digits(crc32(body.encode()), CHECKSUM_LENGTH)


def _digits(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
