"""Old events in today's form."""

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import class_of, from_fields
from schemas.contracts import contracts
from schemas.upcast import UPCASTERS, upcast
from tests.schemas.records import values

RATING = "retrace.interactions.RatingRecorded"


def test_a_rating_becomes_an_interaction() -> None:
    """The first logs hold ratings only; nobody but this function remembers."""
    rated_at = datetime(1998, 1, 1, tzinfo=UTC)
    name, fields = upcast(RATING, {"user_id": "u", "item_id": "i", "rating": 4.0, "rated_at": rated_at})
    assert name == "retrace.interactions.InteractionRecorded"
    assert fields == {
        "user_id": "u",
        "item_id": "i",
        "kind": "rate",
        "value": 4.0,
        "occurred_at": rated_at,
        "decision_id": None,
    }


@given(st.sampled_from(sorted(UPCASTERS)).flatmap(lambda n: st.tuples(st.just(n), values(contracts()[n].schema))))
def test_every_upcast_record_fits_todays_class(old: tuple[str, dict[str, Any]]) -> None:
    """An upcaster that forgets a field would break every reader of old logs."""
    name, fields = upcast(*old)
    assert not contracts()[name].is_retired
    assert isinstance(from_fields(name, fields), class_of(contracts()[name]))


def test_what_is_current_stays_as_it_is() -> None:
    """Upcasting costs today's events one look-up."""
    fields = {"item_id": "i"}
    assert upcast("retrace.catalog.ItemRetired", fields) == ("retrace.catalog.ItemRetired", fields)


def test_upcasters_follow_each_other() -> None:
    """An event renamed twice is read through both."""
    chain = MappingProxyType({"a": lambda f: ("b", f | {"b": 1}), "b": lambda f: ("c", f | {"c": f["b"] + 1})})
    assert upcast("a", {}, chain) == ("c", {"b": 1, "c": 2})
