"""Choosing an answer from what is offered: filters, fallbacks and what is put on record."""

import numpy as np

from inference.artifact import Metadata
from inference.inputs import Item, Profile
from inference.lastgood import Good, LastGood
from inference.reads import Catalogue, Live, User
from inference.recommend import Offer, Refusal, _choose, settle
from inference.routing import Route, World
from schemas.decisions import AsOf

HISTORY = AsOf(view="user_history", topic="interactions", partition=0, next_offset=7)
CATALOG = AsOf(view="catalogue", topic="catalog", partition=0, next_offset=3)
COUNTED = AsOf(view="popularity", topic="interactions", partition=0, next_offset=9)
USER = User(("seen",), Profile(hidden_categories=frozenset({"gore"})), True, (HISTORY,))
WORLD = World(
    catalogue=Catalogue({"old": Item(retired=True), "saw": Item(frozenset({"gore"}))}, {}, (CATALOG,)),
    popular=(("seen", 9.0), ("old", 8.0), ("hit", 7.0)),
    counted=(COUNTED,),
)
ROUTE = Route(Live("films", 2, "a" * 64, "d2"), Metadata("ease", 1, {}, ("x", "saw", "y"), 1.0))
GOOD = Good("before", ROUTE, USER, np.array([2, 1, 0, -1], np.int32), np.array([3, 2, 1, 0], np.float32))


def test_retired_and_hidden_items_are_taken_out_and_named() -> None:
    """An item that was taken out is never shown, and the record says that it was a candidate."""
    outcome = settle(Offer("model", None, [("old", 3.0), ("saw", 2.0), ("x", 1.0)], USER, ROUTE), WORLD, 5)
    assert outcome.items == (("x", 1.0),)
    assert outcome.filtered == ("old", "saw")
    assert outcome.positions == (HISTORY, CATALOG)


def test_popular_answers_name_the_position_of_the_counts() -> None:
    """Explain folds popularity up to there."""
    outcome = _choose(Refusal("new_user"), USER, None, WORLD, 5)
    assert (outcome.source, outcome.offer.reason) == ("popular", "new_user")
    assert outcome.items == (("hit", 7.0),)
    assert COUNTED in outcome.positions


def test_trouble_gives_the_last_good_answer_again_filtered_anew() -> None:
    """What was retired since must not come back through the fallback."""
    outcome = _choose(Refusal("triton_timeout", is_trouble=True), USER, GOOD, WORLD, 5)
    assert outcome.source == "last_good"
    assert outcome.offer.based_on == "before"
    assert outcome.items == (("y", 3.0), ("x", 1.0))
    assert outcome.filtered == ("saw",)


def test_a_refusal_that_is_no_trouble_does_not_use_the_last_good_answer() -> None:
    """Without consent an old personal answer may not be given."""
    assert _choose(Refusal("no_consent"), USER, GOOD, WORLD, 5).source == "popular"


def test_a_model_whose_items_are_all_filtered_falls_back() -> None:
    """An empty page is the last resort."""
    outcome = _choose(Offer("model", None, [("seen", 1.0)], USER, ROUTE), USER, None, WORLD, 5)
    assert (outcome.source, outcome.offer.reason) == ("popular", "nothing_left")


def test_nothing_at_all_is_an_answer_too() -> None:
    """A new installation answers an empty list, on record as such."""
    outcome = _choose(Refusal("no_model"), User(), None, World(), 5)
    assert (outcome.source, outcome.items, outcome.offer.reason) == ("none", (), "no_model")


def test_last_good_keeps_the_users_seen_last() -> None:
    """Memory is bounded, and who is here now matters most."""
    kept = LastGood(2)
    kept.put("films", "a", GOOD)
    kept.put("films", "b", GOOD)
    kept.get("films", "a")
    kept.put("films", "c", GOOD)
    assert kept.get("films", "b") is None
    assert kept.get("films", "a") is GOOD
    kept.forget("films", "a")
    assert kept.get("films", "a") is None


def test_last_good_forgets_people_with_all_their_models() -> None:
    """Whoever is erased was perhaps answered by several."""
    kept = LastGood(9)
    for model, user in (("films", "a"), ("books", "a"), ("films", "b")):
        kept.put(model, user, GOOD)
    kept.forget_all({"a", "nobody"})
    assert kept.users() == {"b"}
