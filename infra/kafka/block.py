"""Record batches as Kafka keeps them.

Source: Kafka protocol guide, Record Batch (format 2, since Kafka 0.11).
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.record.default_records import DefaultRecordBatch

from schemas.errors import Incompatible

HEADER = struct.Struct(">qiibIhiqqqhii")
LOG_OVERHEAD = 12
FORMAT = 2
CODECS: Mapping[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: gzip_decode,
    2: snappy_decode,
    3: lz4_decode,
    4: zstd_decode,
}
CODEC_MASK, LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 0x07, 0x08, 0x10, 0x20


@dataclass(frozen=True, slots=True)
class Block:
    """One record batch.

    Attributes:
        data: the batch as the broker sent it, with its header.
        first_timestamp_ms: what the records' stamps are relative to.
        max_timestamp_ms: the stamp of all records where the broker stamps them.
        producer_id: of the transaction, if `transactional`.
    """

    data: bytes
    base_offset: int
    last_offset: int
    attributes: int
    first_timestamp_ms: int
    max_timestamp_ms: int
    producer_id: int
    count: int

    def payload(self) -> bytes:
        """The records' bytes, no longer compressed.

        Raises:
            Incompatible: compressed in a way we do not know, or damaged.
        """
        decode = CODECS.get(self.attributes & CODEC_MASK)
        if decode is None:
            raise Incompatible(f"the batch at offset {self.base_offset} is compressed in an unknown way")
        return bytes(decode(self.data[HEADER.size :]))

    @property
    def next_offset(self) -> int:
        """Where the next batch may begin."""
        return self.last_offset + 1

    @property
    def stamped_by_broker(self) -> bool:
        """Whether all its records have the stamp of their arrival."""
        return bool(self.attributes & LOG_APPEND_TIME)

    @property
    def is_transactional(self) -> bool:
        """Whether it counts only when its transaction was committed."""
        return bool(self.attributes & TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        """Whether it holds a transaction's end and no events."""
        return bool(self.attributes & CONTROL)


def split(data: bytes) -> Iterator[Block]:
    """The whole batches in a fetch response; a broker may cut the last one short.

    Raises:
        Incompatible: a batch is damaged or of a format before Kafka 0.11.
    """
    at = 0
    while at + HEADER.size <= len(data):
        base, length, _, magic, _, attributes, last, first_ms, max_ms, producer, _, _, count = HEADER.unpack_from(
            data, at
        )
        end = at + LOG_OVERHEAD + length
        if end > len(data):
            return
        piece = data[at:end]
        if magic != FORMAT or not DefaultRecordBatch(bytearray(piece)).validate_crc():
            raise Incompatible(f"the batch at offset {base} is damaged or of an unknown format", code="bad_batch")
        yield Block(piece, base, base + last, attributes, first_ms, max_ms, producer, count)
        at = end
