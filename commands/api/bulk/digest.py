"""Whether an upload that is sent again is the same one: its bytes hashed from one confirmed place to the next."""

from collections.abc import Sequence
from hashlib import blake2b

from schemas.errors import Invalid

SIZE = 16


class Digest:
    """Hashes content between places; what follows a place is keyed with the digest of that place.

    A place lies in the chunk that it is told with, or is the one before.

    Source: RFC 7693, section 2.9, for keyed hashing.

    Args:
        size_bytes: the place it begins at.
        digest: of that place; empty at the beginning.
    """

    def __init__(self, size_bytes: int = 0, digest: bytes = b"") -> None:
        self._place = self._hashed = size_bytes
        self._hash = blake2b(key=digest, digest_size=SIZE)
        self._at_place = self._hash.copy()
        self._ahead = b""

    def feed(self, chunk: bytes, place: int) -> None:
        """Take content, and move on to a place; neither in a pause."""
        if not chunk and place <= self._place:
            return
        self._take(self._ahead)
        step = max(0, place - self._hashed)
        self._take(chunk[:step])
        if place > self._place:
            self._at_place, self._place = self._hash.copy(), place
            self._ahead = chunk[step:]
        else:
            self._ahead = b""
            self._take(chunk)

    @property
    def can_go_on(self) -> bool:
        """Whether nothing behind the place has been hashed."""
        return self._hashed == self._place

    def mark(self) -> bytes:
        """Digest of the place; what comes next is keyed with it, if `can_go_on`."""
        digest = self._at_place.digest()
        self._hash = blake2b(key=digest, digest_size=SIZE)
        return digest

    def _take(self, piece: bytes) -> None:
        self._hash.update(piece)
        self._hashed += len(piece)


class Prefix:
    """Skips the content that is confirmed, when it is the same.

    Args:
        places: confirmed places, in bytes, rising.
        digest: of the last of them.
    """

    def __init__(self, places: Sequence[int], digest: bytes) -> None:
        self._places = places
        self._next = 0
        self._at = 0
        self._expected = digest
        self._digest = Digest()

    @property
    def passed(self) -> bool:
        """Whether all that is confirmed has come."""
        return self._next == len(self._places)

    def feed(self, chunk: bytes) -> bytes:
        """What comes after the confirmed part.

        Raises:
            Invalid: the confirmed part is not what was sent before.
        """
        view = memoryview(chunk)
        while not self.passed and len(view):
            part = view[: self._places[self._next] - self._at]
            self._at += len(part)
            self._digest.feed(bytes(part), self._at)
            view = view[len(part) :]
            if self._at == self._places[self._next]:
                self._reach()
        return bytes(view)

    def end(self) -> None:
        """Nothing follows.

        Raises:
            Invalid: the content is shorter than what is confirmed.
        """
        if not self.passed:
            raise changed(f"it ends after {self._at} bytes, and {self._places[-1]} are confirmed")

    def _reach(self) -> None:
        self._next += 1
        digest = self._digest.mark()
        if self.passed and digest != self._expected:
            raise changed(f"its first {self._at} bytes are not those that are confirmed")


def changed(why: str) -> Invalid:
    """The same name for another content."""
    return Invalid(f"this Upload-Id belongs to another content: {why}; choose a new Upload-Id", code="upload_changed")
