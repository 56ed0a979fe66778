"""A proof that one decision stands on the log, for somebody who has nothing but the public key."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatch

from infra.audit.chain import Chain, Link
from infra.audit.keys import PublicKeys, pem
from infra.audit.leaf import Leaves, leaf_of
from infra.audit.leafstore import LeafStore
from infra.audit.ledger import open_ledger
from infra.audit.merkle import path, root
from infra.audit.partition import Partition
from infra.audit.source import source_of
from infra.audit.statement import EPOCH
from infra.audit.verifier import check
from infra.kafka.fetch import fetch, open_client
from infra.kafka.records import Decoder
from infra.settings import Settings
from schemas.audit import LogCheckpointed
from schemas.errors import Incompatible, NotFound
from schemas.models import OffsetRange
from schemas.position import Position

FORMAT = "retrace proof 1"

Proof = dict[str, Any]


async def prove(settings: Settings, decoder: Decoder, keys: PublicKeys, decision_id: str, position: Position) -> Proof:
    """The proof for the decision that stands at a position.

    Raises:
        NotFound: no checkpoint covers it yet, or neither Kafka nor the archive has a record there any more.
        Incompatible: the log is no longer what was signed, so that nothing can be proven; or the archive's file that
            has it was changed.
        Unavailable: brokers or archive do not answer.
    """
    async with open_ledger(settings, decoder, keys) as ledger:
        link = _covering(ledger.chains.of(f"{position.topic}/{position.partition}"), position, settings)
    checkpoint = link.checkpoint
    record = await _record(settings, position)
    leaves = await _leaves(settings, checkpoint)
    leaf = leaf_of(record.offset, record.timestamp_ms, record.key, record.value, record.headers)
    if leaf not in leaves.hashes:
        raise Incompatible(f"the record at {position} is not the one that was signed", code="not_as_signed")
    index = leaves.hashes.index(leaf)
    proof = {
        "format": FORMAT,
        "decision": decision_id,
        "record": record.document(),
        "index": index,
        "path": [step.hex() for step in path(leaves.hashes, index)],
        "checkpoint": fields_of(checkpoint),
    }
    try:
        check(proof, pem(keys[checkpoint.key_id]).decode())
    except ValueError as fault:
        raise Incompatible(f"the record at {position} proves nothing: {fault}", code="not_proven") from fault
    return proof


def fields_of(checkpoint: LogCheckpointed) -> dict[str, Any]:
    """A checkpoint as a proof carries it."""
    return {
        "origin": checkpoint.origin,
        "log": checkpoint.log,
        "number": checkpoint.number,
        "first": checkpoint.first,
        "end": checkpoint.end,
        "records": checkpoint.records,
        "root": checkpoint.root,
        "leaves_sha256": checkpoint.leaves_sha256,
        "previous": checkpoint.previous,
        "signed_at_us": (checkpoint.signed_at - EPOCH) // checkpoint.signed_at.resolution,
        "key_id": checkpoint.key_id,
        "signature": checkpoint.signature,
    }


def _covering(chain: Chain, position: Position, settings: Settings) -> Link:
    for link in chain.links:
        if link.checkpoint.first <= position.offset < link.checkpoint.end:
            return link
    raise NotFound(
        f"no checkpoint covers {position} yet: a running notary signs it within about {settings.notary.seconds:.0f} s; "
        "`retrace serve notary` starts one",
        code="not_covered",
    )


async def _record(settings: Settings, position: Position) -> "_Record":
    """The record with its bytes as they are."""
    part = OffsetRange(
        topic=position.topic, partition=position.partition, first=position.offset, end=position.offset + 1
    )
    async with open_client(settings, [position.topic]) as client, aclosing(fetch(client, settings, [part])) as pieces:
        async for fetched in pieces:
            for block in fetched.blocks:
                for one in DefaultRecordBatch(bytearray(block.data)):
                    if one.offset == position.offset:
                        return _Record(one.offset, one.timestamp, one.key, one.value, one.headers)
    raise NotFound(f"the log has no record at {position} any more", code="no_record")


async def _leaves(settings: Settings, checkpoint: LogCheckpointed) -> Leaves:
    """The leaf hashes that were signed: as they were kept, else as the log has them."""
    try:
        kept = await asyncio.to_thread(LeafStore(settings).get, checkpoint.leaves_sha256)
    except (NotFound, Incompatible):
        kept = await _read(settings, checkpoint)
    if root(kept.hashes).hex() != checkpoint.root:
        raise Incompatible(
            f"{checkpoint.log}/{checkpoint.first}..{checkpoint.end} is not what was signed, and what was is lost: "
            "`retrace audit verify` tells more",
            code="not_as_signed",
        )
    return kept


async def _read(settings: Settings, checkpoint: LogCheckpointed) -> Leaves:
    log, found = Partition.parse(checkpoint.log), Leaves()
    async with open_client(settings, [log.topic]) as client:
        source = await source_of(client, settings, log)
        async with aclosing(source.read(checkpoint.first, checkpoint.end)) as pieces:
            async for piece in pieces:
                found.extend(piece.leaves)
    return found


@dataclass(frozen=True, slots=True)
class _Record:
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    def document(self) -> dict[str, Any]:
        """As a proof carries it: bytes as hex."""
        return {
            "offset": self.offset,
            "timestamp_ms": self.timestamp_ms,
            "key": (self.key or b"").hex(),
            "value": (self.value or b"").hex(),
            "headers": [[name, (held or b"").hex()] for name, held in self.headers],
        }
