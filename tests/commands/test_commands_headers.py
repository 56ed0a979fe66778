"""Headers of a request: what they mean, and that no text can break them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.api.headers import Preferences, expected_version, idempotency_key, preferences
from schemas.envelope import ANY_VERSION
from schemas.errors import Malformed


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ('"8e03978e"', "8e03978e"),
        ("8e03978e", "8e03978e"),
        (r'"a \"b\" \\c"', r'a "b" \c'),
        (None, None),
    ],
)
def test_a_key_in_quotes_and_a_bare_one_are_the_same(sent: str | None, key: str | None) -> None:
    """The draft asks for a structured string; most clients send bare text."""
    assert idempotency_key(sent) == key


@pytest.mark.parametrize("sent", ["", '""', '"', '"a', 'a"', r'"a\b"', "k" * 201, "tab\there"])
def test_a_broken_key_is_a_bad_request(sent: str) -> None:
    """A key cut short would be somebody else's."""
    with pytest.raises(Malformed) as caught:
        idempotency_key(sent)
    assert (caught.value.status, caught.value.code) == (400, "bad_idempotency_key")


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=200))
def test_any_printable_text_survives_its_quotes(key: str) -> None:
    """Two keys may never become one."""
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert idempotency_key(quoted) == key


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "version"),
    [
        ('"3"', None, 3),
        ('W/"3"', None, 3),
        ("3", None, 3),
        ("*", None, ANY_VERSION),
        (None, "*", 0),
        (None, None, None),
    ],
)
def test_preconditions_name_a_version(if_match: str | None, if_none_match: str | None, version: int | None) -> None:
    """Conditions are HTTP's own, so that any client library can send them."""
    assert expected_version(if_match, if_none_match) == version


@pytest.mark.parametrize(
    "sent", [('"x"', None), ('"1", "2"', None), ('3"', None), (None, '"3"'), ("*", "*"), ("", None)]
)
def test_a_condition_that_means_nothing_is_a_bad_request(sent: tuple[str | None, str | None]) -> None:
    """Leaving it out silently would overwrite somebody else's change."""
    with pytest.raises(Malformed):
        expected_version(*sent)


@pytest.mark.parametrize(
    ("sent", "read", "patience_s"),
    [
        ([], Preferences(False, None), 10),
        (["respond-async"], Preferences(True, None), 0),
        (["wait=2"], Preferences(False, 2), 2),
        (["Wait = 99; x=1"], Preferences(False, 99), 10),
        (["respond-async, wait=5"], Preferences(True, 5), 5),
        (["respond-async", 'wait="5"'], Preferences(True, 5), 5),
        (["wait=1, wait=7"], Preferences(False, 1), 1),
        (["wait=soon, handling=lenient"], Preferences(False, None), 10),
        (["no-respond-async"], Preferences(False, None), 10),
    ],
)
def test_preferences_say_how_long_to_wait(sent: list[str], read: Preferences, patience_s: float) -> None:
    """A preference that is not understood is no reason to refuse."""
    assert preferences(sent) == read
    assert preferences(sent).patience_s(10) == patience_s


@given(st.text(max_size=60), st.text(max_size=60), st.lists(st.text(max_size=60), max_size=3))
def test_no_text_crashes_the_reading(key: str, tag: str, prefer: list[str]) -> None:
    """Whatever is sent is read or refused."""
    preferences(prefer)
    for read in (
        lambda: idempotency_key(key),
        lambda: expected_version(tag, None),
        lambda: expected_version(None, tag),
    ):
        with contextlib.suppress(Malformed):
            read()
