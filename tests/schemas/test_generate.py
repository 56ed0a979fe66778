"""The checked-in classes are those of the contracts."""

import dataclasses
import typing
from datetime import datetime

import pytest

from schemas import generate
from schemas.codec import class_of
from schemas.contracts import Contract, contracts

ALL = sorted(contracts().values(), key=lambda contract: contract.full_name)


def test_the_generated_modules_are_fresh() -> None:
    """A contract changed without its class is a bug that only production would show."""
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize("contract", ALL, ids=lambda contract: contract.full_name)
def test_a_class_has_the_fields_of_its_contract(contract: Contract) -> None:
    """Same names, same order, a default exactly where the contract has one, frozen, keywords only."""
    fields = dataclasses.fields(class_of(contract))
    assert [field.name for field in fields] == [field["name"] for field in contract.fields]
    defaults = [f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING for f in fields]
    assert defaults == ["default" in field for field in contract.fields]
    assert all(field.kw_only for field in fields)
    assert class_of(contract).__dataclass_params__.frozen


def test_types_are_those_that_avro_decodes_to() -> None:
    """A generated annotation that lies misleads the type checker everywhere."""
    hints = typing.get_type_hints(class_of(contracts()["retrace.interactions.InteractionRecorded"]))
    assert hints["occurred_at"] is datetime
    assert hints["value"] == (float | None)
    assert "view" in typing.get_args(hints["kind"])


def test_nested_records_maps_and_defaults_are_generated() -> None:
    """The forms that contracts may take, in one small one."""
    schema = {
        "type": "record",
        "name": "Boxed",
        "namespace": "retrace.boxes",
        "doc": "A box.",
        "kind": "event",
        "fields": [
            {"name": "sizes", "doc": "Sizes.", "default": {}, "type": {"type": "map", "values": "int"}},
            {"name": "tags", "doc": "Tags.", "default": [], "type": {"type": "array", "items": "string"}},
            {
                "name": "lid",
                "doc": "Lid.",
                "type": [
                    "null",
                    {
                        "type": "record",
                        "name": "Lid",
                        "doc": "A lid.",
                        "fields": [{"name": "colour", "doc": "Colour.", "type": "string"}],
                    },
                ],
                "default": None,
            },
        ],
    }
    text = generate.Module("boxes", [Contract(schema, "boxes")]).text()
    space: dict[str, typing.Any] = {"__name__": "boxes"}
    exec(compile(text, "boxes", "exec"), space)
    box = space["Boxed"]()
    assert (box.sizes, box.tags, box.lid) == ({}, (), None)
    assert space["Boxed"](lid=space["Lid"](colour="red")).lid.colour == "red"
    assert space["BoxesEvent"] is space["Boxed"]
