"""Random records of every contract, made from the `.avsc` alone."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from schemas.codec import class_of, from_fields
from schemas.contracts import Contract, contracts

LIVING = {name: contract for name, contract in contracts().items() if not contract.is_retired}
IDS = {name: number for number, name in enumerate(contracts(), start=1)}

PRIMITIVES: Mapping[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=20),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
}
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))


def values(schema: Any) -> st.SearchStrategy[Any]:
    """Values of a schema, as plain Python."""
    match schema:
        case [*branches]:
            return st.one_of([values(branch) for branch in branches])
        case {"logicalType": "timestamp-micros"}:
            return MOMENTS
        case {"type": "array", "items": items}:
            return st.lists(values(items), max_size=3)
        case {"type": "map", "values": inner}:
            return st.dictionaries(PRIMITIVES["string"], values(inner), max_size=3)
        case {"type": "enum", "symbols": symbols}:
            return st.sampled_from(symbols)
        case {"type": "record", "fields": fields}:
            return st.fixed_dictionaries({field["name"]: values(field["type"]) for field in fields})
        case {"type": inner}:
            return values(inner)
        case str(name):
            return PRIMITIVES[name]
    raise AssertionError(f"no values for {schema}")


def records(contract: Contract) -> st.SearchStrategy[Any]:
    """Instances of the contract's class."""
    assert class_of(contract)
    return values(contract.schema).map(lambda fields: from_fields(contract.full_name, fields))


any_record: st.SearchStrategy[Any] = st.sampled_from(sorted(LIVING)).flatmap(lambda name: records(LIVING[name]))
