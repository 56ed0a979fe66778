import json
from typing import Any

import pytest

from schemas.compatibility import Level, faults, unreadable
from schemas.errors import Invalid


def record(*fields: dict[str, Any], name: str = "User", **own: Any) -> str:
    return json.dumps({"type": "record", "name": name, "namespace": "shop", "fields": list(fields), **own})


def field(name: str, kind: Any = "int", **own: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **own}


def color(*symbols: str, **own: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "Color", "symbols": list(symbols), **own}


AGE = field("age")
PLAIN = record(AGE)

CHANGES = [
    # what changed, old, new, new reads old, old reads new
    ("nothing", PLAIN, PLAIN, True, True),
    ("field with default added", PLAIN, record(AGE, field("score", default=0)), True, True),
    ("field without default added", PLAIN, record(AGE, field("score")), False, True),
    ("field with default removed", record(AGE, field("score", default=0)), PLAIN, True, True),
    ("field without default removed", record(AGE, field("score")), PLAIN, True, False),
    ("field renamed by alias", PLAIN, record(field("years", aliases=["age"])), True, False),
    ("field renamed without alias", PLAIN, record(field("years")), False, False),
    ("record renamed by short alias", PLAIN, record(AGE, name="Person", aliases=["User"]), True, False),
    ("record renamed by full alias", PLAIN, record(AGE, name="Person", aliases=["shop.User"]), True, False),
    ("record renamed without alias", PLAIN, record(AGE, name="Person"), False, False),
    ("int becomes long", PLAIN, record(field("age", "long")), True, False),
    ("int becomes double", PLAIN, record(field("age", "double")), True, False),
    ("int becomes string", PLAIN, record(field("age", "string")), False, False),
    ("string becomes bytes", record(field("age", "string")), record(field("age", "bytes")), True, True),
    ("field becomes optional", PLAIN, record(field("age", ["null", "int"])), True, False),
    ("field becomes required", record(field("age", ["null", "int"])), PLAIN, False, True),
    (
        "branch added",
        record(field("age", ["null", "int"])),
        record(field("age", ["null", "int", "string"])),
        True,
        False,
    ),
    ("symbol added", record(field("c", color("RED"))), record(field("c", color("RED", "BLUE"))), True, False),
    (
        "symbol added to an enum with default",
        record(field("c", color("RED", default="RED"))),
        record(field("c", color("RED", "BLUE", default="RED"))),
        True,
        True,
    ),
    ("symbol removed", record(field("c", color("RED", "BLUE"))), record(field("c", color("RED"))), False, True),
    ("doc changed", PLAIN, record(AGE, doc="Who."), True, True),
    ("default changed", record(field("age", default=1)), record(field("age", default=2)), True, True),
    (
        "fixed resized",
        record(field("h", {"type": "fixed", "name": "Hash", "size": 16})),
        record(field("h", {"type": "fixed", "name": "Hash", "size": 32})),
        False,
        False,
    ),
]


@pytest.mark.parametrize(("old", "new", "backward", "forward"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_each_change_is_judged_in_both_directions(old: str, new: str, backward: bool, forward: bool) -> None:
    """The table is what an author of schemas relies on; each row is a rule of the Avro specification."""
    earlier = [("version 1", old)]
    assert (not faults(new, earlier, Level.BACKWARD)) is backward
    assert (not faults(new, earlier, Level.FORWARD)) is forward
    assert (not faults(new, earlier, Level.FULL)) is (backward and forward)
    assert not faults(new, earlier, Level.NONE)


@pytest.mark.parametrize(
    ("new", "remedy"),
    [
        (record(AGE, field("score")), "field 'score' has no default and is not written; give it a default"),
        (record(), "field 'age' has no default and is not written; keep it: those who read it need it"),
        (record(field("age", "long")), "field 'age' is written as long and read as int; keep it as it was, or put"),
    ],
)
def test_a_fault_says_what_to_do(new: str, remedy: str) -> None:
    """The rule alone sends its reader to the Avro specification."""
    (fault,) = faults(new, [("version 1", PLAIN)], Level.FULL_TRANSITIVE)
    assert remedy in fault


def test_transitive_levels_remember_versions_that_the_latest_has_forgotten() -> None:
    """A field may leave in one version and come back with another type in the next: old records are still there."""
    earlier = [("version 1", record(AGE, field("x", "int", default=0))), ("version 2", PLAIN)]
    back = record(AGE, field("x", "string", default=""))
    assert not faults(back, earlier, Level.FULL)
    assert len(faults(back, earlier, Level.FULL_TRANSITIVE)) == 2
    assert all("version 1" in fault for fault in faults(back, earlier, Level.FULL_TRANSITIVE))


def nested(kind: Any) -> str:
    inner = {"type": "record", "name": "Address", "fields": [field("street", "string"), field("number", kind)]}
    return record(field("homes", {"type": "array", "items": ["null", inner]}))


@pytest.mark.parametrize(
    ("reader", "writer", "named"),
    [
        (record(AGE, field("score")), PLAIN, "field 'score' has no default"),
        (record(field("age", "string")), PLAIN, "field 'age' is written as int and read as string"),
        (nested("int"), nested("string"), "field 'homes[].number' is written as string and read as int"),
        (record(field("c", color("RED"))), record(field("c", color("RED", "BLUE"))), "field 'c' may be BLUE"),
        (PLAIN, record(field("age", ["null", "int"])), "field 'age' is written as null and read as int"),
        (
            record(field("age", ["null", "int"])),
            record(field("age", ["null", "string"])),
            "field 'age' may be string, which the reader's union does not have",
        ),
        (record(AGE, name="Person"), PLAIN, "the value is written as shop.User and read as shop.Person"),
    ],
)
def test_the_reason_names_the_field(reader: str, writer: str, named: str) -> None:
    """Whoever is refused must know what to change without reading two schemas side by side."""
    (why,) = unreadable(reader, writer)
    assert named in why


def tree(kind: str) -> str:
    return record(field("value", kind), field("next", ["null", "User"], default=None))


def test_a_schema_that_contains_itself_ends() -> None:
    """Trees and lists are legal Avro; the walk must not follow them for ever."""
    assert not unreadable(tree("long"), tree("int"))
    assert unreadable(tree("int"), tree("long")) == ("field 'value' is written as long and read as int",)


def test_text_that_is_no_schema_is_invalid() -> None:
    """A fault of the author is told from a fault between two good schemas."""
    with pytest.raises(Invalid, match="not an Avro schema"):
        unreadable('{"type": "recrod"}', PLAIN)
