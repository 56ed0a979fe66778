"""An Idempotency-Key that comes again: what is answered then.

Source: draft-ietf-httpapi-idempotency-key-header, section 2.7.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from schemas.errors import Invalid, Rejected

REPLAYED = "idempotent-replayed"
"""Header of an answer that is the first one again."""
REMEMBERED = 100_000


def reused(id: UUID) -> Invalid:
    """The key came with another body before."""
    return Invalid(
        "this Idempotency-Key has been used for something else: choose a new key for each request",
        code="idempotency_key_reused",
        extra={"command_id": str(id)},
    )


def in_progress(id: UUID, **extra: str) -> Rejected:
    """The request that came with this key before is not answered yet."""
    return Rejected(
        "a request with this Idempotency-Key is being worked on: send it again in a moment",
        code="request_in_progress",
        extra={"command_id": str(id), **extra},
    )


@dataclass
class Said:
    """What came with a key.

    Attributes:
        position: where it stands; None while that is not known.
    """

    fingerprint: str
    position: str | None = None


class Repeats:
    """The last facts that came with a key; of those before them readers drop what comes again.

    Args:
        limit: how many are remembered.
    """

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._said: OrderedDict[UUID, Said] = OrderedDict()

    @contextmanager
    def of(self, id: UUID, fingerprint: str) -> Iterator[Said]:
        """What is known of this key; whoever finds no position there appends the fact and enters it.

        Raises:
            Invalid: the key was used for something else.
            Rejected: another request with this key is under way.
        """
        said = self._said.get(id)
        if said is not None and said.fingerprint != fingerprint:
            raise reused(id)
        if said is not None and said.position is None:
            raise in_progress(id)
        said = said or self._remember(id, Said(fingerprint))
        try:
            yield said
        finally:
            if said.position is None:
                self._said.pop(id, None)

    def _remember(self, id: UUID, said: Said) -> Said:
        self._said[id] = said
        if len(self._said) > self._limit:
            self._said.popitem(last=False)
        return said
