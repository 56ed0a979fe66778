"""How a recommendation is made: by the model when it can, else by what is left that knows most of the user.

After the model come the user's last good answer, what is met next after the user's items, what is popular in the user's
categories, and what is popular. Every way ends in an `Outcome` that says what it was made from, so that it can be made
again from the log.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from prometheus_client import Counter

from inference.counting.near import near, recent
from inference.inputs import ModelInput, history_sha256, model_input
from inference.serving import candidates
from inference.serving.lastgood import Good, LastGood
from inference.serving.reads import ReadModels, User
from inference.serving.routing import Route, Routing, World
from inference.serving.scoring import Scoring
from inference.triton.repository import triton_name
from infra.personal.files import erased
from schemas.decisions import AsOf
from schemas.errors import Problem, Unavailable

Source: TypeAlias = Literal["model", "last_good", "co_occurrence", "popular_in_category", "popular", "none"]

POPULAR: tuple[Source, ...] = ("popular_in_category", "popular")

HISTORY_AWAY = "history_unavailable"

ANSWERS = Counter("retrace_recommendations_total", "Answers by what made them, and why.", ["source", "reason"])


@dataclass(frozen=True, eq=False)
class Offer:
    """Candidates, before filters.

    Attributes:
        source: where they come from.
        reason: why not from the model.
        scored: candidates with scores, best first.
        user: as known.
        route: what scored; None when no model did.
        given: what the model was given, when it was asked now.
        based_on: the earlier decision whose candidates these are.
        positions: how far that had been folded which only this offer was made from.
    """

    source: Source
    reason: str | None
    scored: Sequence[tuple[str, float]]
    user: User
    route: Route | None = None
    given: ModelInput | None = None
    based_on: str | None = None
    positions: tuple[AsOf, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Why the model makes no offer.

    Attributes:
        reason: as it is recorded.
        is_trouble: whether it would have made one, had everything worked.
    """

    reason: str
    is_trouble: bool = False


@dataclass(frozen=True, eq=False)
class Outcome:
    """An answer and what it was made from.

    Attributes:
        offer: what it was chosen from.
        items: the answer, best first.
        filtered: candidates taken out: retired or hidden.
        positions: what was known.
    """

    offer: Offer
    items: tuple[tuple[str, float], ...]
    filtered: tuple[str, ...]
    positions: tuple[AsOf, ...]

    @property
    def source(self) -> Source:
        """What made the answer."""
        return self.offer.source if self.items else "none"

    @property
    def history_length(self) -> int:
        """Interactions given to the model; when none was asked, those known."""
        return len(self.offer.given.items if self.offer.given else self.offer.user.history)

    @property
    def history_sha256(self) -> str:
        """Hash of the same."""
        return self.offer.given.sha256 if self.offer.given else history_sha256(self.offer.user.history)


def settle(offer: Offer, world: World, limit: int) -> Outcome:
    """Choose the answer from an offer."""
    user = offer.user
    items, filtered = candidates.answer(offer.scored, set(user.history), user.profile, world.catalogue.items, limit)
    counted = world.counted if offer.source in POPULAR else ()
    positions = (*user.positions, *world.catalogue.positions, *world.routed, *counted, *offer.positions)
    return Outcome(offer, tuple(items), tuple(filtered), positions)


class Recommender:
    """Makes answers.

    Args:
        reads: the users.
        routing: what is kept of the world.
        scoring: the Triton servers.
        last_good: where the models' answers are kept.
    """

    def __init__(self, reads: ReadModels, routing: Routing, scoring: Scoring, last_good: LastGood) -> None:
        self._reads = reads
        self._routing = routing
        self._scoring = scoring
        self._last_good = last_good

    async def recommend(self, user_id: str, model: str, limit: int, decision_id: str) -> Outcome:
        """An answer for a user; whatever is away, there is one.

        Args:
            decision_id: of this decision, under which a model's answer is kept for later.

        Raises:
            Gone: the user has been erased.
        """
        world = self._routing.world
        self._refuse_erased(user_id, user_id in world.erased)
        good, epoch = self._last_good.get(model, user_id), self._last_good.epoch
        try:
            user = await self._reads.user(user_id)
        except Unavailable:
            user = good.user if good else User()
            offer: Offer | Refusal = Refusal(HISTORY_AWAY, is_trouble=True)
        else:
            self._refuse_erased(user_id, user.erased)
            offer = await self._ask(user_id, model, user, world.route(model), decision_id, epoch)
        outcome = first_filled(personal(offer, user, good), world, limit)
        if outcome is None or not outcome.items:
            outcome = first_filled([*await self._near(offer, user), *common(offer, user, world)], world, limit)
        assert outcome is not None
        ANSWERS.labels(outcome.source, outcome.offer.reason or "").inc()
        return outcome

    def _refuse_erased(self, user_id: str, is_erased: bool) -> None:
        if is_erased:
            self._last_good.forget_all({user_id})
            raise erased(user_id)

    async def _ask(
        self, user_id: str, model: str, user: User, route: Route | None, decision_id: str, epoch: int
    ) -> Offer | Refusal:
        """What the model offers; kept for later unless consents have been reviewed since `epoch`."""
        if not user.profile.personalisation:
            self._last_good.forget(model, user_id)
            return Refusal("no_consent")
        if route is None:
            return Refusal("no_model")
        if not user.history:
            return Refusal("new_user" if user.registered else "unknown_user")
        given = model_input(user.history, route.metadata)
        if not given.items:
            return Refusal("unknown_items")
        try:
            item_ids, scores = await self._scoring.score(triton_name(model, route.live.version), given)
        except Problem as problem:
            return Refusal(problem.code, is_trouble=True)
        good = Good(decision_id, route, user, item_ids[0], scores[0])
        self._last_good.put(model, user_id, good, epoch)
        return Offer("model", None, good.scored, user, route, given)

    async def _near(self, made: Offer | Refusal, user: User) -> list[Offer]:
        """What follows the user's items, where that is counted and the database that holds it answers."""
        if not user.history or reason_of(made) == HISTORY_AWAY:
            return []
        try:
            followers = await self._reads.followers(list(recent(user.history)))
        except Unavailable:
            return []
        scored = near(user.history, followers.rows)
        if not scored:
            return []
        return [Offer("co_occurrence", reason_of(made), scored, user, positions=followers.positions)]


def reason_of(made: Offer | Refusal) -> str:
    """Why something else than the model answers."""
    return made.reason if isinstance(made, Refusal) else "nothing_left"


def personal(made: Offer | Refusal, user: User, good: Good | None) -> list[Offer]:
    """The model's offer, or in trouble its last one for this user."""
    if isinstance(made, Offer):
        return [made]
    if made.is_trouble and good is not None:
        return [Offer("last_good", made.reason, good.scored, user, good.route, based_on=good.decision_id)]
    return []


def common(made: Offer | Refusal, user: User, world: World) -> list[Offer]:
    """What is popular: first that of the user's categories, where any are known; else at all."""
    catalogue, popular = world.catalogue.items, Offer("popular", reason_of(made), world.popular, user)
    liked = candidates.liked_categories(user.profile, user.history, catalogue)
    if not liked:
        return [popular]
    scored, of_liked = candidates.liked_first(world.popular, liked, catalogue)
    return [Offer("popular_in_category", reason_of(made), scored, user)] * (of_liked > 0) + [popular]


def first_filled(offers: Iterable[Offer], world: World, limit: int) -> Outcome | None:
    """From the first offer of which anything is left after the filters, else from the last; None of no offers."""
    outcome = None
    for offer in offers:
        outcome = settle(offer, world, limit)
        if outcome.items:
            break
    return outcome
