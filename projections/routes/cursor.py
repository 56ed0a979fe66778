"""Where a page ends, as clients carry it: opaque, checked, and good for the query that it came from alone.

A cursor holds the sort values of the last row, a mark of the query (its path and its filters) and a check over both.
It gives no rights: who forges one begins the same query at another place. So it is checked against damage, not signed.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, TypeAlias

import orjson
from fastapi import Query

from schemas.errors import Invalid

LONGEST = 1024
MARK_BYTES = 8
CHECK_BYTES = 6
HEAD_BYTES = MARK_BYTES + CHECK_BYTES

Cursor: TypeAlias = Annotated[
    str | None,
    Query(max_length=LONGEST, description="`next` of the page before, asked with the same path and filters"),
]
"""The parameter of every list that comes in pages; `limit` may change from page to page."""


@dataclass(frozen=True)
class Pages:
    """The pages of one query.

    Attributes:
        query: path of the query, with the ids that stand in it.
        filters: what else decides which rows there are and in which order; neither `limit` nor `min-position`.
    """

    query: str
    filters: Sequence[tuple[str, Any]] = ()

    @classmethod
    def of(cls, query: str, **filters: Any) -> "Pages":
        """The pages of this path under these filters; those that are None count as not given."""
        return cls(query, tuple(sorted((name, value) for name, value in filters.items() if value is not None)))

    def after(self, *place: Any) -> str:
        """The cursor for what follows the row with these sort values; any that JSON can hold, and times."""
        payload = orjson.dumps(place)
        return urlsafe_b64encode(self._mark + _check(self._mark + payload) + payload).rstrip(b"=").decode()

    def place(self, cursor: str | None, *kinds: type[Any]) -> list[Any] | None:
        """The sort values in a cursor; None without one.

        Args:
            kinds: types of the sort values, as JSON has them; none: whatever stands there.

        Raises:
            Invalid: it is damaged, or of another query.
        """
        if cursor is None:
            return None
        head, payload = _split(cursor)
        mark, check = head[:MARK_BYTES], head[MARK_BYTES:]
        if check != _check(mark + payload):
            raise damaged(cursor)
        if mark != self._mark:
            raise Invalid(
                "the cursor is of another query: give it with the path and the filters that it came from, "
                "or begin again without one",
                code="cursor_of_another_query",
                errors=[{"pointer": "/cursor", "detail": "is of another query"}],
            )
        values: list[Any] = orjson.loads(payload)
        if kinds and [type(value) for value in values] != list(kinds):
            raise damaged(cursor)  # by an older version of this service
        return values

    @property
    def _mark(self) -> bytes:
        said = orjson.dumps([self.query, self.filters], default=str)
        return blake2b(said, digest_size=MARK_BYTES).digest()


def damaged(cursor: str) -> Invalid:
    """What to tell of a cursor that cannot be read."""
    return Invalid(
        f"'{cursor[:40]}' is no cursor of ours: give `next` of an answer as it stands there",
        code="bad_cursor",
        errors=[{"pointer": "/cursor", "detail": "cannot be read"}],
    )


def _check(content: bytes) -> bytes:
    return blake2b(content, digest_size=CHECK_BYTES).digest()


def _split(cursor: str) -> tuple[bytes, bytes]:
    try:
        whole = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except (UnicodeEncodeError, binascii.Error) as fault:
        raise damaged(cursor) from fault
    if urlsafe_b64encode(whole).rstrip(b"=").decode() != cursor:
        raise damaged(cursor)  # the decoder passes over what is no base64
    return whole[:HEAD_BYTES], whole[HEAD_BYTES:]
