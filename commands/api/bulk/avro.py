"""Avro object-container files, block by block as they come.

Source: Avro 1.12 specification, Object Container Files.
"""

import io
import json
from collections.abc import Iterator
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from commands.api.bulk.blocks import CODECS, LONGEST_BLOCK, LONGEST_HEADER, SYNC_SIZE, Damaged, Short, Source, unpacked
from commands.api.bulk.cut import Bad, Cut, Start
from commands.api.bulk.resolve import Resolver, has_endless, without_logical
from commands.api.validation import Fault
from schemas.contracts import Contract
from schemas.errors import Invalid

MAGIC = b"Obj\x01"
UNREADABLE = (EOFError, IndexError, ValueError, TypeError, KeyError, OverflowError, MemoryError, RecursionError)


class Container:
    """An object-container file; memory is bounded by the largest block.

    Args:
        contract: of the facts.
        start: where the upload goes on, at the beginning of a block.

    Attributes:
        offset: bytes up to which every block has come out.
        number: of the last record.
        preamble: the file's header, once it has come.
    """

    def __init__(self, contract: Contract, start: Start) -> None:
        self.offset = start.size_bytes
        self.number = start.number
        self.preamble = b""
        self._contract = contract
        self._buffer = bytearray()
        self._needed = 1
        self._blocks = 0
        if start.preamble:
            self._begin(start.preamble)

    def feed(self, chunk: bytes) -> Iterator[Cut]:
        """The records of the blocks that end in this chunk.

        Raises:
            Invalid: no container, of a schema that does not fit, or damaged; it says which block.
            TooLarge: the header or a block is over the limit.
        """
        self._buffer += chunk
        while len(self._buffer) >= self._needed:
            try:
                if self.preamble:
                    yield from self._block()
                else:
                    self._header()
            except Short as short:
                self._needed = short.needed
                return
            self._needed = 1

    def end(self) -> Iterator[Cut]:
        """Nothing follows.

        Raises:
            Invalid: the file ends within its header or a block.
        """
        if self._buffer or not self.preamble:
            where = f"block {self._blocks + 1}" if self.preamble else "its header"
            raise self._corrupt(f"the file ends within {where}")
        return iter(())

    def _header(self) -> None:
        source = Source(self._buffer, "the header", LONGEST_HEADER)
        try:
            if source.take(len(MAGIC)) != MAGIC:
                raise Damaged("it does not begin with 'Obj' and 1")
            meta = source.map()
            source.take(SYNC_SIZE)
        except Damaged as fault:
            raise Invalid(f"the body is no Avro object container: {fault}", code="bad_avro_header") from None
        self._learn(meta)
        self.preamble = bytes(self._buffer[: source.at])
        self._sync = self.preamble[-SYNC_SIZE:]
        self._consume(source.at)

    def _begin(self, preamble: bytes) -> None:
        size = self.offset
        self._buffer += preamble
        self._header()
        self.offset = size

    def _learn(self, meta: dict[str, bytes]) -> None:
        self._codec = meta.get("avro.codec", b"null").decode(errors="replace")
        if self._codec not in CODECS:
            raise Invalid(f"the codec is one of {', '.join(CODECS)}, not '{self._codec[:50]}'", code="bad_avro_codec")
        try:
            schema: Any = json.loads(meta.get("avro.schema", b"null"))
            if not isinstance(schema, dict) or schema.get("type") != "record":
                raise Invalid("the schema of the file is to be a record", code="bad_avro_header")
            if has_endless(schema):
                raise Invalid("the schema has a list of items without a size, or of named ones", code="bad_avro_header")
            self._writer: Any = fastavro.parse_schema(without_logical(schema), named_schemas={})
            self._resolve = Resolver(self._contract, schema)
        except (SchemaParseException, UnknownType, KeyError, TypeError, ValueError, RecursionError) as fault:
            raise Invalid(f"the schema in the header cannot be read: {fault!r}"[:500], code="bad_avro_header") from None

    def _block(self) -> Iterator[Cut]:
        name = f"block {self._blocks + 1}"
        source = Source(self._buffer, name, LONGEST_BLOCK)
        try:
            count, data = source.number(), source.take(source.number())
            if source.take(SYNC_SIZE) != self._sync:
                raise Damaged("its sync marker is another one")
            content = io.BytesIO(unpacked(self._codec, data))
        except Damaged as fault:
            raise self._corrupt(f"{name} is damaged: {fault}") from None
        yield from self._records(name, count, content)
        self._blocks += 1
        self._consume(source.at)

    def _records(self, name: str, count: int, content: io.BytesIO) -> Iterator[Cut]:
        for index in range(1, count + 1):
            try:
                record: Any = fastavro.schemaless_reader(content, self._writer, None)
            except UNREADABLE as fault:
                kept = f", and {index - 1} records of this one" if index > 1 else ""
                raise self._corrupt(f"{name} cannot be read from its record {index} on ({fault!r})", kept) from None
            self.number += 1
            try:
                yield self.number, self._resolve(record)
            except Fault as fault:
                yield self.number, Bad("invalid", fault)
        if content.read(1):
            raise self._corrupt(f"{name} holds more than its {count} records", f", and {count} records of this one")

    def _consume(self, size: int) -> None:
        del self._buffer[:size]
        self.offset += size

    def _corrupt(self, what: str, also: str = "") -> Invalid:
        kept = f"the {self._blocks} blocks before it are kept{also}" if self._blocks or also else "nothing is kept"
        return Invalid(
            f"{what}; {kept}", code="corrupt_block", extra={"block": self._blocks + 1, "blocks_kept": self._blocks}
        )
