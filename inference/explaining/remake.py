"""How an answer is made again: one way for each source, and one way from candidates to the answer for all.

A new source of answers is one function and one line in `REMAKERS`. What has none is said to be unknown, never
identical.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from inference.counting.near import Row, contributions, near, recent
from inference.explaining.reasons import MOST, Reason, reasons
from inference.explaining.rebuild import Known, Log, Shelf
from inference.inputs import Interaction, Item, ModelInput, Profile, history_sha256, model_input
from inference.scorer import OnnxScorer
from inference.serving import candidates
from inference.store import ArtifactStore
from infra.settings import Settings
from schemas.decisions import RecommendationServed
from schemas.errors import Incompatible, NotFound

SCORERS = 2
"""Artifacts kept ready; each may take hundreds of megabytes."""

AHEAD = 32
"""Candidates beyond the wanted ones that are looked up in the catalogue at first."""

RECENT = 5
"""Newest items of the history whose titles are looked up."""

Scored: TypeAlias = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Remade:
    """An answer as the log says it should have been.

    Attributes:
        items: best first, with scores.
        filtered: those taken out.
        candidates: how many there were before filters.
        history: what the user had met, oldest first.
        history_length: interactions given to the model; when none was asked, those known.
        history_sha256: hash of the same.
        titles: of the items that are named here, where there are any.
        reasons: by item, the past interactions that speak most for it; empty where no model answered.
        barred: by item that was taken out, why.
    """

    items: tuple[tuple[str, float], ...]
    filtered: tuple[str, ...]
    candidates: int
    history: tuple[str, ...]
    history_length: int
    history_sha256: str
    titles: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, tuple[Reason, ...]] = field(default_factory=dict)
    barred: dict[str, str] = field(default_factory=dict)


class Artifacts:
    """Artifacts that are ready to score; the last few are kept."""

    def __init__(self, settings: Settings) -> None:
        self._store = ArtifactStore(settings)
        self._scorers: OrderedDict[str, OnnxScorer] = OrderedDict()

    def scorer(self, sha256: str | None) -> OnnxScorer:
        """The artifact with this hash.

        Raises:
            NotFound, Incompatible, Unavailable: as `ArtifactStore.get`; Incompatible for None.
        """
        if sha256 is None:
            raise Incompatible("the record names no artifact although a model answered", code="artifact_unnamed")
        if sha256 not in self._scorers:
            self._scorers[sha256] = OnnxScorer(self._store.get(sha256))
        self._scorers.move_to_end(sha256)
        while len(self._scorers) > SCORERS:
            self._scorers.popitem(last=False)
        return self._scorers[sha256]


@dataclass(frozen=True)
class Case:
    """A decision to be made again.

    Attributes:
        known: the user, as known then.
        find: an earlier decision by its id; raises NotFound.
        check: makes an earlier decision again and raises Incompatible when it is not as recorded.
        left_out: interactions that are supposed not to have happened; `known` is without them already.
    """

    decision: RecommendationServed
    known: Known
    log: Log
    artifacts: Artifacts
    find: Callable[[str], Awaitable[RecommendationServed]]
    check: Callable[["Case"], Awaitable[None]]
    left_out: tuple[Interaction, ...] = ()


@dataclass(frozen=True)
class Offered:
    """Candidates, before filters.

    Attributes:
        scored: best first.
        given: what the model was given, where this answer asked one.
        why: for answered items, the interactions that speak most for them.
    """

    scored: Scored
    given: ModelInput | None = None
    why: Callable[[Sequence[str]], dict[str, tuple[Reason, ...]]] = lambda _: {}


Remaker: TypeAlias = Callable[[Case], Awaitable[Offered]]


async def by_model(case: Case) -> Offered:
    """The model's own answer: its artifact is asked again, in this process."""
    scorer = await asyncio.to_thread(case.artifacts.scorer, case.decision.artifact_sha256)
    given = model_input(case.known.history, scorer.metadata)
    scored = await asyncio.to_thread(scorer.score, case.known.history)
    return Offered(scored, given, lambda answered: reasons(scorer, given, answered))


async def repeated(case: Case) -> Offered:
    """The user's last good answer: the candidates of the earlier decision, which has to be as recorded itself.

    Raises:
        Incompatible: the earlier decision is none that could have been repeated, or is not as recorded.
    """
    decision = case.decision
    if decision.based_on is None:
        raise Incompatible("it repeats an earlier answer and does not say which", code="based_on_missing")
    earlier = await case.find(decision.based_on)
    same = (earlier.user_id, earlier.model, earlier.artifact_sha256)
    if earlier.source != "model" or same != (decision.user_id, decision.model, decision.artifact_sha256):
        raise Incompatible(
            f"decision {decision.based_on}, which it says it repeats, is not an answer of that model for that user",
            code="based_on_differs",
        )
    before = replace(case, decision=earlier, known=await case.log.user(earlier), left_out=())
    await case.check(before)
    return replace(await by_model(replace(before, known=before.known.without(case.left_out))), given=None)


async def popular(case: Case) -> Offered:
    """What was met most often, by anybody: all interactions counted up to the recorded positions."""
    counts = Counter(await case.log.popularity(case.decision))
    counted = {p.partition: p.next_offset for p in case.decision.positions if p.view == "popularity"}
    gone = {row.event_id: row for row in case.left_out if row.offset < counted.get(case.known.partition, 0)}
    counts.subtract(row.item_id for row in gone.values())
    return Offered(candidates.popular(+counts))


async def popular_in_category(case: Case) -> Offered:
    """The same, with the categories that the user likes first, as the catalogue was then."""
    counted = (await popular(case)).scored
    known, log = case.known, case.log
    shelf = await log.shelf(case.decision, [*(item for item, _ in counted), *candidates.newest_of(known.history)])
    liked = candidates.liked_categories(known.profile, known.history, shelf.items)
    return Offered(candidates.liked_first(counted, liked, shelf.items)[0])


async def co_occurrence(case: Case) -> Offered:
    """What follows the items of the history: pairs counted from all users, up to the recorded positions."""
    history = case.known.history
    left_out = [case.known.position(row) for row in case.left_out]
    rows = await case.log.followers(case.decision, recent(history), left_out)
    return Offered(near(history, rows), why=lambda answered: _followed(history, rows, answered))


def _followed(
    history: Sequence[str], rows: Mapping[str, Row], answered: Sequence[str]
) -> dict[str, tuple[Reason, ...]]:
    """The items of the history that add most to each answered one."""
    weights, shares = recent(history), contributions(history, rows)
    why: dict[str, tuple[Reason, ...]] = {}
    for item in answered:
        strongest = sorted((-share[item], met) for met, share in shares.items() if item in share)[:MOST]
        why[item] = tuple(Reason(met, weights[met], -value) for value, met in strongest)
    return why


REMAKERS: Mapping[str, Remaker] = {
    "model": by_model,
    "last_good": repeated,
    "co_occurrence": co_occurrence,
    "popular_in_category": popular_in_category,
    "popular": popular,
    "none": popular,  # the last thing that is tried, and nothing of it was left
}


async def remake(case: Case) -> Remade:
    """The answer made again.

    Raises:
        Problem: part of the log, an artifact or an earlier decision is missing or changed, or nobody knows here how
            answers of this source are made.
    """
    remaker = REMAKERS.get(case.decision.source)
    if remaker is None:
        raise Incompatible(
            f"how answers of the source '{case.decision.source}' are made is not known here: use the release that "
            "served it, or a later one",
            code="unknown_source",
        )
    return await settled(case, await remaker(case))


async def settled(case: Case, offered: Offered) -> Remade:
    """Filters applied as serving does, and every item given its reasons."""
    known, decision = case.known, case.decision
    items, filtered, shelf = await _filtered(case, offered.scored)
    why = _placed(await asyncio.to_thread(offered.why, [item for item, _ in items]), known)
    spoken = {reason.item_id for found in why.values() for reason in found}
    unnamed = {*spoken, *known.history[-RECENT:]} - set(shelf.items)
    more = await case.log.shelf(decision, unnamed) if unnamed else Shelf({}, {})
    given = offered.given
    return Remade(
        items=tuple(items),
        filtered=tuple(filtered),
        candidates=len(offered.scored),
        history=known.history,
        history_length=len(known.history if given is None else given.items),
        history_sha256=history_sha256(known.history) if given is None else given.sha256,
        titles=shelf.titles | more.titles,
        reasons=why,
        barred={item: barred(shelf.items[item], known.profile) for item in filtered},
    )


async def _filtered(case: Case, scored: Scored) -> tuple[list[tuple[str, float]], list[str], Shelf]:
    """The answer, what was taken out, and what the catalogue said of the candidates as far as they matter."""
    known, limit = case.known, case.decision.limit
    seen = set(known.history)
    unseen = [(item, score) for item, score in scored if item not in seen]
    ahead = limit + AHEAD
    while True:
        looked_at = unseen[:ahead]
        shelf = await case.log.shelf(case.decision, [item for item, _ in looked_at])
        items, filtered = candidates.answer(looked_at, (), known.profile, shelf.items, limit)
        if len(items) >= limit or ahead >= len(unseen):
            return items, filtered, shelf
        ahead *= 4


def _placed(why: dict[str, tuple[Reason, ...]], known: Known) -> dict[str, tuple[Reason, ...]]:
    """The reasons, each with the place of its interaction in the log."""

    def placed(reason: Reason) -> Reason:
        return replace(reason, interaction=str(known.position(known.places[reason.item_id])))

    return {item: tuple(map(placed, found)) for item, found in why.items()}


def barred(item: Item, profile: Profile) -> str:
    """Why a candidate was taken out."""
    if item.retired:
        return "retired"
    return f"the user hides {', '.join(sorted(item.categories & profile.hidden_categories))}"


def unknown_decision(decision_id: str, *, by_read_model: bool) -> NotFound:
    """What to tell of a decision that the log does not have, or of which its read model has not heard."""
    said, more = (
        (", as far as its read model tells", ", or look in the whole log (scan)") if by_read_model else ("", "")
    )
    return NotFound(
        f"the log has no decision '{decision_id}'{said}: find it with GET /decisions/search{more}",
        code="unknown_decision",
    )
