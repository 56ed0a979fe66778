"""What was released binds: a build refuses the change before a registry has to."""

import json
from typing import Any

import pytest

from schemas.contracts import Contract, contracts
from schemas.released import FILE, extended, refused

ITEM = "retrace.catalog.ItemAdded"


def changed(*fields: dict[str, Any], without: str = "") -> dict[str, Contract]:
    """Today's contracts, one of them changed."""
    schema = json.loads(contracts()[ITEM].json)
    kept = [field for field in schema["fields"] if field["name"] != without]
    return {**contracts(), ITEM: Contract({**schema, "fields": [*kept, *fields]}, "catalog")}


def test_todays_contracts_may_follow_what_was_released() -> None:
    """Logs of every release are out there."""
    assert list(refused(json.loads(FILE.read_text()), contracts())) == []


@pytest.mark.parametrize(
    ("today", "said"),
    [
        (changed({"name": "colour", "type": "string"}), "field 'colour' has no default and is not written"),
        (
            changed({"name": "title", "type": "int"}, without="title"),
            "field 'title' is written as string and read as int",
        ),
        (changed(without="title"), "field 'title' has no default and is not written"),
    ],
)
def test_a_change_that_breaks_readers_is_refused_by_the_name_of_its_field(
    today: dict[str, Contract], said: str
) -> None:
    """Whoever reads the build's output knows what to change."""
    released = extended({}, {ITEM: contracts()[ITEM]})
    found = list(refused(released, today))
    assert found
    assert all(fault.startswith(f"{ITEM}: ") for fault in found)
    assert any(said in fault for fault in found)


def test_a_released_contract_that_is_gone_is_refused() -> None:
    """Its records stay in the log, and somebody has to read them."""
    released = extended({}, {ITEM: contracts()[ITEM]})
    (fault,) = refused(released, {})
    assert "retired" in fault


def test_a_release_is_kept_once() -> None:
    """Writing twice changes nothing."""
    once = extended({}, contracts())
    assert extended(once, contracts()) == once
