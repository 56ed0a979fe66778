"""A read model is a declaration: what it reads, where it is kept, and how a batch of events changes it.

There are two kinds. A `View` is a table in PostgreSQL and one SQL statement over the staged batch. An `Index` is a set
of documents in Elasticsearch and one function from an event to a document. The runner finds them by `discover` and does
the rest: reading, decoding, duplicates, checkpoints, faults.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from schemas.contracts import contracts
from schemas.envelope import Meta
from schemas.position import Position
from schemas.profiles import UserErased
from schemas.topics import DECIDED, TOPICS


@dataclass(frozen=True, kw_only=True)
class View:
    """A read model in PostgreSQL.

    The result may not depend on how the log is cut into batches, nor on how its partitions are interleaved: events of
    one key come in their order, and nothing else is promised.

    Attributes:
        name: name of the published SQL view.
        version: of this declaration; a change of the table or of its meaning takes the next one.
        reads: classes of the events it is made of.
        table: columns and constraints of its table, as in CREATE TABLE.
        batch: columns of the staged batch, as in CREATE TABLE. A name is a field of the events (NULL where an event has
            none) or one that `staging.META` knows.
        apply: the statement that brings a batch into the table. `{table}` is the table, `batch` the staged batch.
        indexes: what stands after `CREATE INDEX ON table`.
        published: the query behind the SQL view; `{table}` is the table.
        deduplicate: whether a fact that came twice under an id chosen by its client counts once. A table whose own
            keys make repeats harmless does not need it.
        personal: column, of the table and of the batch, that names the person whom a row is about. When they are
            erased their rows are removed, and rows that come later are not kept.
        anonymous: with it their rows are kept, to be counted: columns and what becomes of them, as SQL over the row's
            own columns. What tells who the person is has to be among them.
    """

    name: str
    version: int
    reads: tuple[type[Any], ...]
    table: str
    batch: str
    apply: str
    indexes: tuple[str, ...] = ()
    published: str = "SELECT * FROM {table}"
    deduplicate: bool = False
    personal: str | None = None
    anonymous: tuple[tuple[str, str], ...] = ()

    @property
    def physical(self) -> str:
        """Name of its table."""
        return f"{self.name}_v{self.version}"


@dataclass(frozen=True, slots=True)
class Put:
    """Write these fields of a document; other fields stay as they are.

    Attributes:
        id: of the document.
        fields: as JSON values.
    """

    id: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove a document.

    Attributes:
        id: of the document.
    """

    id: str


Change: TypeAlias = Put | Drop


@dataclass(frozen=True, kw_only=True)
class Index:
    """A read model in Elasticsearch.

    Attributes:
        name: name of the published alias.
        version: of this declaration; a change of the mapping or of its meaning takes the next one.
        reads: classes of the events it is made of.
        mapping: the index's `mappings`.
        document: what an event does to which document. All events of a document have one key, so those of one topic
            come in order.
        merges: whether a document is made of several events, so that what is there must be read before it is written.
        personal: field, of the document and of the events, that names the person whom a document is about, a keyword.
            When they are erased their documents are removed, and such that come later are not kept.
    """

    name: str
    version: int
    reads: tuple[type[Any], ...]
    mapping: Mapping[str, Any]
    document: Callable[[Any, Meta, Position], Change]
    merges: bool = False
    personal: str | None = None

    @property
    def physical(self) -> str:
        """Name of the alias that the runner writes to."""
        return f"{self.name}_v{self.version}"


Projection: TypeAlias = View | Index


def topics_of(projection: Projection) -> tuple[str, ...]:
    """Topics that a read model is folded from, in alphabetical order. Outcomes stand on every decided topic."""
    found: set[str] = set()
    erasures = () if projection.personal is None else (UserErased,)
    for event in (*projection.reads, *erasures):
        topic = contracts()[event.AVRO].topic
        found.update(DECIDED if topic is None else (topic,))
    return tuple(sorted(found & set(TOPICS)))
