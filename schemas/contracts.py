"""The `.avsc` files, read once: what each record is, where it goes, and under which key.

Besides Avro's own attributes a contract may carry: `kind` (event or command), `topic`, `key` (field that holds the
record key), `http` (method and path of its route), `fact` (needs no decision), `outcome` (answers a command, on every
decided topic), `precondition` (its route insists on If-Match), `example` (a body, for the API's description), `roles`
(who may send it), `sealed` (the API alone makes it, because a secret goes into it), `oneOf` (fields of which exactly
one is given), and per field `pii` (encrypted
under the key of the person whom the record's key names), `generated` (the API fills it), `minLength`, `maxLength`,
`pattern`, `minimum`, `maximum`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from schemas.named import apart
from schemas.roles import ROLES

UNREGISTERED = frozenset({"example", "precondition", "carries", "roles", "sealed", "oneOf"})
"""Attributes that may change without making another schema of it."""
AVRO_FOLDER = Path(__file__).parent / "avro"


@dataclass(frozen=True)
class Contract:
    """One record of an `.avsc` file.

    Attributes:
        schema: the record as it is in the file, ready for an Avro library.
        context: folder it lies in, or name of the file, and Python module of its class.
    """

    schema: Mapping[str, Any]
    context: str

    @property
    def name(self) -> str:
        """Name without namespace, which is also that of the Python class."""
        return str(self.schema["name"])

    @property
    def full_name(self) -> str:
        """Name with namespace: the type on the wire."""
        return f"{self.schema['namespace']}.{self.name}"

    @property
    def kind(self) -> Literal["event", "command"]:
        """Whether it says what happened or what should."""
        return "command" if self.schema["kind"] == "command" else "event"

    @property
    def topic(self) -> str | None:
        """Topic of the aggregate or fact, without prefix; None for an outcome, which goes to every decided topic."""
        return self.schema.get("topic")

    @property
    def key(self) -> str | None:
        """Field that holds the record key."""
        return self.schema.get("key")

    @property
    def http(self) -> tuple[str, str] | None:
        """Method and path of the route that takes it; None when it has none."""
        route = self.schema.get("http")
        if route is None:
            return None
        method, path = route.split(" ", 1)
        return method, path

    @property
    def needs_precondition(self) -> bool:
        """Whether its route takes it only with a condition on the aggregate's version."""
        return bool(self.schema.get("precondition"))

    @property
    def example(self) -> Mapping[str, Any]:
        """Fields as a caller might send them; empty when there are none."""
        return dict(self.schema.get("example", {}))

    @property
    def carries(self) -> tuple[str, str] | None:
        """Fields that hold the type and the fields of another command, which is sent later; None when it has none."""
        carried = self.schema.get("carries")
        return None if carried is None else (carried["type"], carried["fields"])

    @cached_property
    def roles(self) -> frozenset[str]:
        """Who may send it, beside an admin; empty for what nobody sends."""
        return frozenset(self.schema.get("roles", ()))

    @property
    def is_sealed(self) -> bool:
        """Whether the API alone makes it, on a route of its own: nobody sends it as it is."""
        return bool(self.schema.get("sealed"))

    @cached_property
    def one_of(self) -> tuple[str, ...]:
        """Fields of which a caller gives exactly one; empty when there are none."""
        return tuple(self.schema.get("oneOf", ()))

    @property
    def is_fact(self) -> bool:
        """Whether it is appended without a decision."""
        return bool(self.schema.get("fact"))

    @property
    def is_outcome(self) -> bool:
        """Whether it answers a command without changing anything."""
        return bool(self.schema.get("outcome"))

    @property
    def is_retired(self) -> bool:
        """Whether it is only read, from old logs, and upcast."""
        return bool(self.schema.get("retired"))

    @property
    def fields(self) -> list[dict[str, Any]]:
        """Fields, in the order of the file."""
        return list(self.schema["fields"])

    @cached_property
    def personal(self) -> frozenset[str]:
        """Fields that describe the person whose id is the record's key: texts, or maps of texts."""
        return frozenset(field["name"] for field in self.fields if field.get("pii"))

    @property
    def json(self) -> str:
        """The schema as text, as it is registered: without what only the API says to its callers."""
        return json.dumps({name: value for name, value in self.schema.items() if name not in UNREGISTERED})


def read(folder: Path) -> Iterator[Contract]:
    """Every contract below `folder`, in the order of the paths.

    A file holds one record, or an array of them (in Avro's terms a union); it lies in the folder of its context, or
    beside the folders and is named like its context.
    """
    for path in sorted(folder.rglob("*.avsc")):
        context = path.relative_to(folder).with_suffix("").parts[0]
        held = json.loads(path.read_text())
        for schema in apart(held if isinstance(held, list) else [held]):
            yield Contract(MappingProxyType(schema), context)


def check_roles(contract: Contract) -> Contract:
    """The contract, when it says who may send it.

    Raises:
        ValueError: it can be sent and names no role, or one that does not exist.
    """
    sent = contract.kind == "command" or contract.http is not None
    if sent and not contract.roles:
        raise ValueError(f'{contract.full_name} says not who may send it: add "roles", of {", ".join(ROLES)}')
    if unknown := contract.roles - set(ROLES):
        raise ValueError(f"{contract.full_name} names the role '{min(unknown)}'; there are {', '.join(ROLES)}")
    return contract


@cache
def contracts() -> Mapping[str, Contract]:
    """Every contract of the project by full name.

    Raises:
        ValueError: one says not who may send it.
    """
    return MappingProxyType({contract.full_name: check_roles(contract) for contract in read(AVRO_FOLDER)})
