import json
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import canonical, parse
from schemas.contracts import Contract, contracts
from schemas.errors import Invalid


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (' {"type" : "string"} ', '"string"'),
        ('{"logicalType":"date","type":"int"}', '{"type":"int","logicalType":"date"}'),
        ('{"fields":[],"name":"a.b.C","type":"record"}', '{"type":"record","name":"C","namespace":"a.b","fields":[]}'),
        (
            '{"type":"record","name":"R","namespace":"n","aliases":["n.Old","m.Older"],"doc":"Die Größe",'
            '"fields":[{"default":1,"type":"int","name":"x","order":"ascending"}],"kind":"event"}',
            '{"type":"record","name":"R","namespace":"n","doc":"Die Größe",'
            '"fields":[{"name":"x","type":"int","default":1}],"kind":"event","aliases":["Old","m.Older"]}',
        ),
        (
            '{"type":"record","name":"n.R","fields":[{"name":"next","type":["null","n.R"]}]}',
            '{"type":"record","name":"R","namespace":"n","fields":[{"name":"next","type":["null","R"]}]}',
        ),
        (
            '{"type":"record","name":"n.R","fields":[{"name":"e","type":{"type":"enum","name":"m.E","symbols":["A"]}},'
            '{"name":"f","type":"m.E"}]}',
            '{"type":"record","name":"R","namespace":"n","fields":[{"name":"e","type":'
            '{"type":"enum","name":"E","namespace":"m","symbols":["A"]}},{"name":"f","type":"m.E"}]}',
        ),
    ],
)
def test_a_schema_is_written_as_java_writes_it(written: str, expected: str) -> None:
    """A Confluent registry that takes over the log compares this very text."""
    assert canonical(written) == expected


@pytest.mark.parametrize("contract", contracts().values(), ids=lambda contract: contract.name)
def test_our_contracts_have_one_canonical_form(contract: Contract) -> None:
    """Registering at each start must find the schema again, whoever formatted the file."""
    text = canonical(contract.json)
    assert canonical(text) == text
    shuffled = json.dumps(json.loads(contract.json), sort_keys=True)
    assert canonical(shuffled, sort_own=True) == canonical(text, sort_own=True)
    assert fastavro.schema.to_parsing_canonical_form(json.loads(text)) == (
        fastavro.schema.to_parsing_canonical_form(json.loads(contract.json))
    )


NAMES = st.sampled_from(["A", "B", "n.A", "m.n.B"])
PRIMITIVE = st.sampled_from(["int", "long", "string", "null", "boolean", "double"])


@st.composite
def schemas(draw: st.DrawFn) -> Any:
    fields = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=4))
    inner = st.one_of(
        PRIMITIVE,
        st.builds(lambda items: {"type": "array", "items": items}, PRIMITIVE),
        st.builds(lambda values: {"values": values, "type": "map"}, PRIMITIVE),
    )
    return {
        "type": "record",
        "name": draw(NAMES),
        "fields": [
            {"name": name, "type": draw(inner), "doc": draw(st.text('aß"\\ \n', max_size=5))} for name in fields
        ],
    }


@given(schemas(), st.randoms())
def test_the_order_in_which_attributes_are_written_does_not_matter(schema: Any, random: Any) -> None:
    """JSON objects have no order, so it must not make two schemas of one."""

    def shuffled(node: Any) -> Any:
        if isinstance(node, list):
            return [shuffled(item) for item in node]
        if not isinstance(node, dict):
            return node
        keys = list(node)
        random.shuffle(keys)
        return {key: shuffled(node[key]) for key in keys}

    assert canonical(json.dumps(shuffled(schema))) == canonical(json.dumps(schema))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "null",
        "5",
        '"strin"',
        '{"type":"record","name":"R"}',
        '{"type":"record","name":"1R","fields":[]}',
        '{"type":"record","name":"R","fields":[{"name":"x","type":"int","default":"a"}]}',
        '{"type":"record","name":"R","fields":[{"name":"x","type":"int"},{"name":"x","type":"int"}]}',
        '{"type":"fixed","name":"F"}',
        '["int","int"]',
        "[" * 5000 + "]" * 5000,
    ],
)
def test_what_is_no_schema_is_invalid(text: str) -> None:
    """A registry that takes nonsense stops every reader later."""
    with pytest.raises(Invalid, match="not an Avro schema") as raised:
        parse(text)
    assert raised.value.code == "invalid_schema"


def test_an_unknown_logical_type_is_its_base_type() -> None:
    """The specification says so, and a library that warns must not make it an error."""
    assert parse('{"type":"long","logicalType":"nanoseconds-ago"}').type == "long"
