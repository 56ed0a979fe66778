"""Merkle trees over records: one hash that stands for all of them, and short proofs that one is among them.

Leaves and inner nodes are hashed under different prefixes, so that nobody passes a node off as a record.

Source: RFC 6962, section 2.1.
"""

from collections.abc import Sequence
from hashlib import sha256

NODE = b"\x01"
HASH_BYTES = 32
EMPTY = sha256(b"").digest()


def parent(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return sha256(NODE + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Hash of the tree over these leaf hashes."""
    level = leaves
    while len(level) > 1:
        level = _above(level)
    return level[0] if level else EMPTY


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """What has to be hashed with leaf `index`, from the bottom up, to come to the root.

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"{len(leaves)} leaves have no number {index}")
    level, steps = leaves, []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):  # the last of an odd level goes up as it is
            steps.append(level[sibling])
        level, index = _above(level), index >> 1
    return steps


def _above(level: Sequence[bytes]) -> list[bytes]:
    pairs = zip(level[::2], level[1::2], strict=False)
    above = [sha256(NODE + left + right).digest() for left, right in pairs]
    if len(level) % 2:
        above.append(level[-1])
    return above
