"""The records of a partition as the archive has them, in files that are whole or not."""

import asyncio
from collections.abc import AsyncGenerator

import pyarrow as pa

from infra.archive.manifest import Kept, Manifest
from infra.archive.reading import Holding
from infra.archive.store import Store
from infra.archive.table import rows_of
from infra.audit.leaf import Leaves, leaf_of
from infra.audit.scan import Flaw, Scanned
from infra.settings import Settings
from schemas.errors import Incompatible


async def archived(settings: Settings, holding: Holding, first: int, end: int) -> AsyncGenerator[Scanned, None]:
    """The records from `first` on and before `end`, file by file; all of them lie in the holding.

    Raises:
        Unavailable: the archive cannot be read.
    """
    store = Store(settings)
    for manifest, file in holding.files(first, end):
        yield await asyncio.to_thread(_scanned, store, manifest, file, max(first, file.first), min(end, file.end))


def _scanned(store: Store, manifest: Manifest, file: Kept, first: int, end: int) -> Scanned:
    """A file; one that was changed is read as far as that goes, so that the checkpoint names the record."""
    try:
        return Scanned(end, _leaves(store.read(manifest, file), first, end), archived=True)
    except Incompatible as fault:
        why, table = fault.detail, store.salvaged(manifest, file)
    leaves = _tried(table, first, end)
    flaw = Flaw("altered", first, end - 1, why, blind=leaves is None)
    return Scanned(end, leaves or Leaves(), [flaw], archived=True)


def _tried(table: pa.Table | None, first: int, end: int) -> Leaves | None:
    """The leaf hashes of whatever somebody has put there; None when it is no records."""
    if table is None:
        return None
    try:
        return _leaves(table, first, end)
    except (TypeError, ValueError, AttributeError, OverflowError):  # fields left empty, or numbers that no record has
        return None


def _leaves(table: pa.Table, first: int, end: int) -> Leaves:
    found = sorted((row[0], leaf_of(*row)) for row in rows_of(table) if first <= row[0] < end)
    return Leaves([offset for offset, _ in found], [leaf for _, leaf in found])
