"""Choosing an answer from what is offered: filters, fallbacks and what is put on record."""

from typing import Any

import numpy as np

from inference.artifact import Metadata
from inference.inputs import Item, ModelInput, Profile
from inference.serving.lastgood import Good, LastGood
from inference.serving.reads import Catalogue, Live, User
from inference.serving.recommend import Offer, Outcome, Recommender, Refusal, common, first_filled, personal, settle
from inference.serving.routing import Route, World
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


def _choose(
    made: Offer | Refusal, user: User, good: Good | None, world: World, limit: int, near: tuple[Offer, ...] = ()
) -> Outcome:
    """The answer, from the first offer of which something is left."""
    outcome = first_filled([*personal(made, user, good), *near, *common(made, user, world)], world, limit)
    assert outcome is not None
    return outcome


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


def test_what_follows_the_history_comes_before_what_is_popular() -> None:
    """The record says what it was made from, and how far that had been counted."""
    counted = AsOf(view="co_occurrence", topic="interactions", partition=0, next_offset=5)
    near = Offer("co_occurrence", "no_model", [("next", 0.5), ("old", 0.4)], USER, positions=(counted,))
    outcome = _choose(Refusal("no_model"), USER, None, WORLD, 5, (near,))
    assert (outcome.source, outcome.items, outcome.filtered) == ("co_occurrence", (("next", 0.5),), ("old",))
    assert counted in outcome.positions
    assert COUNTED not in outcome.positions


COMEDIES = {"seen": Item(frozenset({"comedy"})), "pun": Item(frozenset({"comedy"})), "gun": Item(frozenset({"war"}))}
SHOP = World(
    catalogue=Catalogue(COMEDIES, {}, (CATALOG,)),
    popular=(("gun", 9.0), ("seen", 8.0), ("pun", 7.0)),
    counted=(COUNTED,),
)


def test_popular_things_of_the_categories_met_come_first() -> None:
    """Without model and counts the catalogue still tells what somebody likes; the page is filled with the rest."""
    outcome = _choose(Refusal("no_model"), USER, None, SHOP, 5)
    assert (outcome.source, [item for item, _ in outcome.items]) == ("popular_in_category", ["pun", "gun"])
    assert COUNTED in outcome.positions


def test_what_a_user_asked_for_is_what_a_user_likes() -> None:
    """Somebody new has no history, but may have said what they want."""
    new = User(profile=Profile(favourite_categories=frozenset({"war"})), registered=True)
    assert _choose(Refusal("new_user"), new, None, SHOP, 1).items == (("gun", 9.0),)
    assert _choose(Refusal("new_user"), User(), None, SHOP, 1).source == "popular"
    refuses = User(profile=Profile(favourite_categories=frozenset({"war"}), personalisation=False))
    assert _choose(Refusal("no_consent"), refuses, None, SHOP, 1).source == "popular"


def test_hidden_categories_are_not_liked() -> None:
    """Who hides what they met is not answered with more of it."""
    hides = User(("seen",), Profile(hidden_categories=frozenset({"comedy"})))
    assert _choose(Refusal("no_model"), hides, None, SHOP, 5).items == (("gun", 9.0),)


def test_nothing_at_all_is_an_answer_too() -> None:
    """A new installation answers an empty list, on record as such."""
    outcome = _choose(Refusal("no_model"), User(), None, World(), 5)
    assert (outcome.source, outcome.items, outcome.offer.reason) == ("none", (), "no_model")


def test_last_good_keeps_the_users_seen_last() -> None:
    """Memory is bounded, and who is here now matters most."""
    kept = LastGood(2)
    kept.put("films", "a", GOOD, kept.epoch)
    kept.put("films", "b", GOOD, kept.epoch)
    kept.get("films", "a")
    kept.put("films", "c", GOOD, kept.epoch)
    assert kept.get("films", "b") is None
    assert kept.get("films", "a") is GOOD
    kept.forget("films", "a")
    assert kept.get("films", "a") is None


def test_last_good_forgets_people_with_all_their_models() -> None:
    """Whoever is erased was perhaps answered by several."""
    kept = LastGood(9)
    for model, user in (("films", "a"), ("books", "a"), ("films", "b")):
        kept.put(model, user, GOOD, kept.epoch)
    kept.forget_all({"a", "nobody"})
    assert kept.review() == {"b"}


def test_an_answer_that_was_being_made_during_a_review_is_not_kept() -> None:
    """Its user consented when it was begun; whoever looked for those who no longer do has not seen it."""
    kept = LastGood(9)
    before = kept.epoch
    assert kept.review() == set()
    kept.put("films", "a", GOOD, before)
    assert kept.get("films", "a") is None
    kept.put("films", "a", GOOD, kept.epoch)
    assert kept.get("films", "a") is GOOD


async def test_who_withdraws_while_the_model_is_asked_leaves_nothing_behind() -> None:
    """The answer is given, for it was asked for in time; it may not come back when times are bad."""
    kept = LastGood(9)

    class Reading(Known):
        async def score(self, name: str, given: ModelInput) -> tuple[Any, Any]:
            kept.review()
            return await super().score(name, given)

    for world, is_kept in ((Reading(), False), (Known(), True)):
        recommender = Recommender(world, world, world, kept)  # type: ignore[arg-type]
        outcome = await recommender.recommend("a", "films", 5, "d")
        assert outcome.source == "model"
        assert (kept.get("films", "a") is not None) == is_kept


class Known:
    """A user, a route and a model in one."""

    world = World(routes={"films": ROUTE})

    async def user(self, user_id: str) -> User:
        return User(("x",), registered=True)

    async def score(self, name: str, given: ModelInput) -> tuple[Any, Any]:
        return GOOD.item_ids[np.newaxis], GOOD.scores[np.newaxis]
