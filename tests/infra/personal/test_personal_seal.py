"""Personal texts under a person's key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.personal.fields import needs_key, opened, personal_in, sealed_fields
from infra.personal.seal import PREFIX, Person, PersonKey, is_sealed, seal, unseal
from schemas.contracts import contracts
from schemas.errors import Incompatible

ANA, BEN = Person("default", "ana"), Person("default", "ben")
KEY, OTHER = PersonKey("0011223344556677", b"k" * 32), PersonKey("8899aabbccddeeff", b"o" * 32)
REGISTER = contracts()["retrace.profiles.RegisterUser"]


@given(text=st.text())
def test_what_is_sealed_opens_again_and_shows_nothing(text: str) -> None:
    """Any text that Avro takes, empty and astral ones too."""
    sealed = seal(KEY, ANA, "name", text)
    assert is_sealed(sealed)
    assert unseal(KEY, ANA, "name", sealed) == text
    assert len(text) < 4 or text not in sealed.removeprefix(PREFIX)


def test_the_same_text_is_sealed_differently_each_time() -> None:
    """Two people, or two records, of the same name do not show that they are."""
    assert seal(KEY, ANA, "name", "Ana") != seal(KEY, ANA, "name", "Ana")


@pytest.mark.parametrize(
    ("key", "person", "name"),
    [
        (OTHER, ANA, "name"),
        (KEY, BEN, "name"),
        (KEY, Person("other", "ana"), "name"),
        (KEY, ANA, "attributes"),
    ],
    ids=["another key", "another person", "another tenant", "another field"],
)
def test_a_sealed_text_belongs_to_one_field_of_one_person(key: PersonKey, person: Person, name: str) -> None:
    """Whoever can write a record cannot show one person's data as another's."""
    sealed = seal(KEY, ANA, "name", "Ana")
    with pytest.raises(Incompatible, match="does not open"):
        unseal(key, person, name, sealed)


@pytest.mark.parametrize("text", [PREFIX, f"{PREFIX}x", f"{PREFIX}0011223344556677:????", f"{PREFIX}a:b:c"])
def test_what_only_looks_sealed_does_not_open(text: str) -> None:
    """A damaged text is told as such, whatever is wrong with it."""
    with pytest.raises(Incompatible, match="does not open"):
        unseal(KEY, ANA, "name", text)


def test_one_changed_letter_is_noticed() -> None:
    """GCM authenticates: a store that was tampered with does not show another name."""
    sealed = seal(KEY, ANA, "name", "Ana")
    changed = sealed[:-5] + ("A" if sealed[-5] != "A" else "B") + sealed[-4:]
    with pytest.raises(Incompatible):
        unseal(KEY, ANA, "name", changed)


@given(
    name=st.none() | st.text(),
    attributes=st.dictionaries(st.text(), st.text()),
)
def test_the_personal_fields_of_a_command_come_back_as_they_were(name: str | None, attributes: dict[str, str]) -> None:
    """Whatever a client says, also what looks sealed: it is sealed like anything else."""
    fields = {"user_id": "ana", "name": name, "attributes": attributes}
    sealed = sealed_fields(REGISTER, dict(fields), ANA, KEY)
    assert all(needs_key(sealed[field]) for field in personal_in(REGISTER, fields))
    assert {field: opened(KEY, ANA, field, sealed[field]) for field in ("name", "attributes")} == {
        "name": name,
        "attributes": attributes,
    }


def test_a_client_who_sends_a_sealed_text_gets_that_text_back() -> None:
    """Nobody smuggles somebody else's ciphertext into their own profile and has it opened."""
    stolen = seal(KEY, BEN, "name", "Ben")
    fields = sealed_fields(REGISTER, {"user_id": "ana", "name": stolen, "attributes": {"sealed": stolen}}, ANA, KEY)
    assert opened(KEY, ANA, "name", fields["name"]) == stolen
    assert opened(KEY, ANA, "attributes", fields["attributes"]) == {"sealed": stolen}


def test_without_the_key_nothing_is_left() -> None:
    """That is the erasure, as a reader sees it."""
    fields = sealed_fields(REGISTER, {"user_id": "ana", "name": "Ana", "attributes": {"a": "b"}}, ANA, KEY)
    assert opened(None, ANA, "name", fields["name"]) is None
    assert opened(None, ANA, "attributes", fields["attributes"]) == {}


@pytest.mark.parametrize("value", ["Ana", "", None, {}, {"plan": "family"}, {"sealed": "no"}])
def test_what_was_written_before_there_were_keys_is_read_as_it_is(value: object) -> None:
    """The log is for ever: its first years are not sealed."""
    assert opened(None, ANA, "name", value) == value


def test_neither_names_nor_number_of_attributes_show() -> None:
    """`diagnosis` is as telling as what it says."""
    fields = sealed_fields(REGISTER, {"user_id": "ana", "attributes": {"diagnosis": "x", "age": "30"}}, ANA, KEY)
    assert list(fields["attributes"]) == ["sealed"]


def test_personal_fields_may_be_left_out() -> None:
    """A scheduled command has them sealed when it is validated again: they are not looked at then."""
    for contract in contracts().values():
        for field in contract.fields:
            assert not field.get("pii") or "default" in field, contract.full_name


def test_who_a_personal_field_describes_is_the_key() -> None:
    """The key of a person is found by the record's key; there is no other place that says who it is."""
    for contract in contracts().values():
        assert not contract.personal or contract.key == "user_id", contract.full_name


def test_a_key_does_not_show_its_secret() -> None:
    """It may be in a traceback or a log line."""
    assert "kkk" not in repr(KEY)
