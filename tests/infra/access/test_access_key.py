"""API keys as text."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from infra.access.key import ALPHABET, FORM, ApiKey, new_key, parse
from schemas.errors import Unknown

KEYS = st.builds(new_key)


@given(KEYS)
def test_a_key_is_read_as_it_was_made(key: ApiKey) -> None:
    """What is shown once has to open later."""
    assert parse(key.text) == key
    assert FORM.fullmatch(key.text)
    assert len(key.text) == 66


@given(KEYS, st.data())
def test_a_mistyped_letter_is_told_apart(key: ApiKey, data: st.DataObject) -> None:
    """Whoever mistypes shall look at the key, not ask an admin; and no look-up is needed for it."""
    places = [place for place, letter in enumerate(key.text) if letter in ALPHABET and place > 2]
    place = data.draw(st.sampled_from(places))
    letter = data.draw(st.sampled_from(ALPHABET))
    assume(letter != key.text[place])
    with pytest.raises(Unknown) as fault:
        parse(key.text[:place] + letter + key.text[place + 1 :])
    assert fault.value.code == "mistyped_key"


@given(KEYS, st.integers(3, 64))
def test_two_letters_in_the_wrong_order_are_told_apart(key: ApiKey, place: int) -> None:
    """The usual slip of who copies by hand."""
    swapped = key.text[:place] + key.text[place + 1] + key.text[place] + key.text[place + 2 :]
    assume(swapped != key.text)
    with pytest.raises(Unknown):
        parse(swapped)


@given(st.text(max_size=100))
def test_anything_else_is_no_key(text: str) -> None:
    """Whatever is sent as a key, the answer is a problem and not a crash."""
    assume(not FORM.fullmatch(text))
    with pytest.raises(Unknown) as fault:
        parse(text)
    assert fault.value.code == "malformed_key"
    assert not text.strip() or len(text) < 4 or text not in fault.value.detail


def test_no_two_keys_are_alike() -> None:
    """Ids name keys in the log for ever; secrets are secrets."""
    keys = [new_key() for _ in range(1000)]
    assert len({key.id for key in keys}) == len({key.text for key in keys}) == 1000


def test_a_key_does_not_show_itself() -> None:
    """A key in a traceback or a log line is a key that has to be revoked."""
    key = new_key()
    assert key.text not in f"{key!r} {key}"


def test_the_hash_is_of_the_whole_key() -> None:
    """Two keys that share a secret, which cannot happen, would still not open for each other."""
    key = new_key("abcdefghijkl")
    other = new_key("abcdefghijkl")
    assert key.id == other.id
    assert key.sha256 != other.sha256
