"""The `.avsc` files say everything about a record, and say it well."""

import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from schemas.codec import class_of
from schemas.contracts import AVRO_FOLDER, Contract, check_roles, contracts, read
from schemas.topics import COMMANDS_SUFFIX, TOPICS
from schemas.upcast import UPCASTERS

ALL = sorted(contracts().values(), key=lambda contract: contract.full_name)
each = pytest.mark.parametrize("contract", ALL, ids=lambda contract: contract.full_name)


@each
def test_a_contract_is_avro(contract: Contract) -> None:
    """The file is registered as it is."""
    parsed: Any = fastavro.parse_schema(json.loads(contract.json), named_schemas={})
    assert parsed["name"] == contract.full_name


@each
def test_a_contract_lies_where_its_namespace_says(contract: Contract) -> None:
    """Whoever sees a type on the wire finds its file."""
    assert contract.full_name == f"retrace.{contract.context}.{contract.name}"
    places = (AVRO_FOLDER / contract.context / f"{contract.name}.avsc", AVRO_FOLDER / f"{contract.context}.avsc")
    assert any(place.is_file() for place in places)


@each
def test_a_contract_goes_to_a_topic_of_ours_under_a_field_of_its_own(contract: Contract) -> None:
    """A misspelt topic or key would be noticed in production only."""
    if contract.topic is None:
        assert contract.is_outcome
        return
    topic = TOPICS[contract.topic]
    assert contract.key in {field["name"] for field in contract.fields}
    if contract.kind == "command":
        assert topic.is_decided
        assert contract.topic + COMMANDS_SUFFIX in TOPICS
    elif not contract.is_retired:
        assert contract.is_fact == (topic.kind == "facts")


@each
def test_every_part_of_a_contract_is_documented(contract: Contract) -> None:
    """The docs, the API's descriptions and the classes' docstrings come from here."""
    for part in (contract.schema, *contract.fields):
        assert part["doc"].endswith(".")
    assert contract.kind in ("event", "command")


@each
def test_commands_have_a_route_and_its_fields(contract: Contract) -> None:
    """A path that names no field could not be filled."""
    if contract.http is None:
        return
    method, path = contract.http
    assert method in ("POST", "PUT", "PATCH", "DELETE")
    named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
    assert named <= {field["name"] for field in contract.fields}


def test_routes_are_unique() -> None:
    """Two commands on one route: one of them would never be reached."""
    routes = [contract.http for contract in ALL if contract.http]
    assert len(routes) == len(set(routes))


@each
def test_every_contract_has_its_class(contract: Contract) -> None:
    """Generated code is checked in; a contract without a class could not be decoded."""
    cls = class_of(contract)
    assert cls.AVRO == contract.full_name  # noqa: SIM300


def test_retired_contracts_are_upcast_and_no_others() -> None:
    """A retired record without an upcaster would stop the readers of old logs."""
    assert {contract.full_name for contract in ALL if contract.is_retired} == set(UPCASTERS)


def test_contracts_are_read_in_the_order_of_their_paths(tmp_path: Path) -> None:
    """Generated modules must not depend on the file system."""
    for path in ("b/Z.avsc", "a/Y.avsc", "a/X.avsc"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(json.dumps({"type": "record", "name": Path(path).stem, "namespace": "n"}))
    assert [(c.context, c.name) for c in read(tmp_path)] == [("a", "X"), ("a", "Y"), ("b", "Z")]


def test_a_file_may_hold_several_records(tmp_path: Path) -> None:
    """An aggregate in one file; the file is legal Avro, so a type is defined once and named afterwards."""
    colour = {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}
    part = {"type": "record", "name": "Part", "fields": [{"name": "colour", "type": colour}]}
    parts = {"name": "parts", "type": {"type": "array", "items": part}}
    more = [
        {"name": "spare", "type": ["null", "Part"]},
        {"name": "paints", "type": {"type": "map", "values": "retrace.cars.Colour"}},
    ]
    built = {"type": "record", "name": "Built", "namespace": "retrace.cars", "fields": [parts]}
    changed = {"type": "record", "name": "Changed", "namespace": "retrace.cars", "fields": more}
    fastavro.parse_schema([built, changed], named_schemas={})
    (tmp_path / "cars.avsc").write_text(json.dumps([built, changed]))
    first, second = read(tmp_path)
    assert (first.context, first.schema) == ("cars", built)
    alone: Any = fastavro.parse_schema(json.loads(second.json), named_schemas={})
    together: Any = fastavro.parse_schema({**changed, "fields": [parts, *more]}, named_schemas={})
    types = {field["name"]: field["type"] for field in alone["fields"]}
    assert types["spare"] == ["null", together["fields"][0]["type"]["items"]]
    assert types["paints"] == {"type": "map", "values": "retrace.cars.Colour"}


@pytest.mark.parametrize(
    "schema",
    [
        {"kind": "command"},
        {"kind": "command", "roles": []},
        {"kind": "event", "fact": True, "http": "POST /facts"},
        {"kind": "command", "roles": ["product", "root"]},
    ],
)
def test_what_can_be_sent_says_who_may_send_it(schema: dict[str, Any]) -> None:
    """Forgetting is found when the contracts are read, not by who finds the open door."""
    with pytest.raises(ValueError, match="role"):
        check_roles(Contract({"name": "Do", "namespace": "retrace.test", **schema}, "test"))


@each
def test_nobody_is_named_who_sends_what_nobody_sends(contract: Contract) -> None:
    """Roles on an event would promise a check that does not take place."""
    if contract.kind == "event" and contract.http is None:
        assert not contract.roles


def test_every_attribute_is_in_the_reference() -> None:
    """An attribute that no reader can look up is magic; a misspelt one is found here too."""
    text = (Path(__file__).parents[2] / "docs" / "reference" / "contracts.md").read_text()
    of_records = {name for contract in ALL for name in contract.schema} - {"type"}
    of_fields = {name for contract in ALL for field in contract.fields for name in field}
    assert {name for name in of_records | of_fields if f"`{name}`" not in text} == set()
