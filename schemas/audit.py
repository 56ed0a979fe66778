"""Generated from schemas/avro/audit; change those files and run `python -m schemas.generate`."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheckpointed:
    """What one partition held in a range of offsets, signed. It counts when it follows the last that does.

    Attributes:
        log: Partition: topic/partition, the topic without prefix.
        origin: Installation that the log belongs to.
        number: 1, 2, 3 ... for each partition.
        first: First offset of the range; where the range before ended.
        end: First offset after the range.
        records: Records in the range, void ones included; aborted transactions and markers are none.
        root: Root of the Merkle tree (RFC 6962) over the records, hex.
        leaves_sha256: Hash of the file of offsets and leaf hashes, by which a changed record is named.
        previous: Hash of the checkpoint before; empty in the first of a partition.
        signed_at: When it was signed.
        key_id: Key that signed it: the first 16 hex digits of the hash of its public half.
        signature: Ed25519 over the statement of the fields above, hex.
    """

    AVRO: ClassVar[str] = "retrace.audit.LogCheckpointed"

    log: str
    origin: str
    number: int
    first: int
    end: int
    records: int
    root: str
    leaves_sha256: str
    previous: str
    signed_at: datetime
    key_id: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogVerified:
    """Somebody computed the checkpoints of one partition again from the log.

    Attributes:
        log: Partition: topic/partition, the topic without prefix.
        checkpoints: Checkpoints that were computed again.
        records: Records that were read again.
        end: First offset that no checkpoint covered yet.
        findings: What did not agree, the first hundred; empty when everything did.
        verified_at: When it ended.
    """

    AVRO: ClassVar[str] = "retrace.audit.LogVerified"

    log: str
    checkpoints: int
    records: int
    end: int
    findings: tuple[str, ...] = ()
    verified_at: datetime


AuditEvent: TypeAlias = LogCheckpointed | LogVerified
