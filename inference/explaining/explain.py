"""Why somebody was answered what they were, shown by making the answer again from the log.

The record in the log names what was known and what scored. Both are fetched anew: the inputs by folding the log up to
the recorded positions, the artifact by its hash. Then the same pure functions as in serving make the answer, and it is
compared. What cannot be made again is said to be so, never to be identical.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from inference.explaining.counts import Counts
from inference.explaining.followers import Followers
from inference.explaining.rebuild import DECISIONS, Known, Log
from inference.explaining.remake import Artifacts, Case, Remade, remake, unknown_decision
from inference.explaining.whatif import Hypothesis, WhatIf, suppose
from inference.explaining.whereabouts import hint
from infra.index.reading import Way
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.personal.files import erased
from infra.settings import Settings
from schemas.decisions import RecommendationServed
from schemas.errors import Incompatible, Invalid, NotFound, Problem
from schemas.models import OffsetRange
from schemas.position import Position


@dataclass(frozen=True)
class Explanation:
    """A decision beside its remake.

    Attributes:
        decision: as recorded.
        position: where the record stands.
        remade: None when it could not be made again.
        differences: one sentence each; why not, when it could not be made again.
        ways: how the parts of the log were read.
        hypothesis: what the answer would have been, where that was asked.
        known: the user as known then; None when that cannot be told.
    """

    decision: RecommendationServed
    position: str
    remade: Remade | None
    differences: tuple[str, ...]
    ways: tuple[Way, ...] = ()
    hypothesis: Hypothesis | None = None
    known: Known | None = None

    @property
    def identical(self) -> bool:
        """Whether the answer was made again and is the same in everything."""
        return self.remade is not None and not self.differences


async def explain(settings: Settings, decoder: Decoder, decision_id: str) -> Explanation:
    """Make a decision again and compare.

    Raises:
        as `Explainer.explain`.
    """
    return await Explainer(settings, decoder).explain(decision_id)


class Explainer:
    """Makes decisions again; keeps ready what one explanation after another needs."""

    def __init__(self, settings: Settings, decoder: Decoder) -> None:
        self._settings = settings
        self._decoder = decoder
        self._artifacts = Artifacts(settings)
        self._counts = Counts(settings, decoder)
        self._followers = Followers(settings, decoder)

    async def explain(self, decision_id: str, what_if: WhatIf | None = None, *, indexed: bool = True) -> Explanation:
        """Make a decision again and compare.

        Args:
            what_if: another model, or interactions that had not happened; answered beside.
            indexed: whether indexes and kept counts may be used; without them the log is read whole.

        Raises:
            NotFound: the log has no such decision, or there is no such model to suppose.
            Gone: whom it was for has been erased: nobody is told any more what they were shown, and why.
            Invalid: an interaction that is to be left out was not there.
            Unavailable: brokers, registry or artifact store do not answer.
        """
        log = self._log(indexed)
        decision, position = await self.find(log, decision_id)
        return await self._of(log, decision, position, what_if)

    async def again(self, decision: RecommendationServed, position: Position, *, indexed: bool = True) -> Explanation:
        """The same for a record that is at hand."""
        return await self._of(self._log(indexed), decision, position, None)

    def _log(self, indexed: bool) -> Log:
        return Log(self._settings, self._decoder, self._counts, self._followers, indexed=indexed)

    async def _of(
        self, log: Log, decision: RecommendationServed, position: Position, what_if: WhatIf | None
    ) -> Explanation:
        if await log.erased(decision.user_id):
            raise erased(decision.user_id)
        try:
            known = await log.user(decision)
        except Problem as problem:
            if what_if is not None:
                raise
            return _not_made(Explanation(decision, str(position), None, (), log.ways), problem)
        case = self._case(log, decision, known)
        hypothesis = await suppose(self._settings, case, what_if) if what_if is not None else None
        told = Explanation(decision, str(position), None, (), log.ways, hypothesis, known)
        try:
            remade = await remake(case)
        except Problem as problem:
            return _not_made(replace(told, ways=log.ways), problem)
        found = (*differences(decision, remade), *contradictions(decision, known))
        return replace(told, remade=remade, differences=found, ways=log.ways)

    def _case(self, log: Log, decision: RecommendationServed, known: Known) -> Case:
        async def earlier(decision_id: str) -> RecommendationServed:
            return (await self.find(log, decision_id))[0]

        return Case(decision, known, log, self._artifacts, earlier, _see_it_is_as_recorded)

    async def find(self, log: Log, decision_id: str) -> tuple[RecommendationServed, Position]:
        """The record of a decision, from the log; the read model only says where to look, and how far it has seen.

        Raises:
            NotFound: the log has no such decision.
            Unavailable: the brokers do not answer.
        """
        place, seen = await hint(self._settings, decision_id) if log.indexed else (None, {})
        if place is not None and (found := await self._at(log, place, decision_id)) is not None:
            return found, place
        ranges = await ranges_now(self._settings, [DECISIONS])
        if place is None:  # with a place that is wrong, it is a read model of another log
            ranges = [_from(part, seen.get(part.partition, 0)) for part in ranges]
        if (record := await log.decision(ranges, decision_id)) is not None:
            return record
        raise unknown_decision(decision_id, by_read_model=bool(seen) and place is None)

    async def _at(self, log: Log, place: Position, decision_id: str) -> RecommendationServed | None:
        try:
            return await log.decision_at(place, decision_id)
        except (Invalid, NotFound):
            return None


def _not_made(told: Explanation, problem: Problem) -> Explanation:
    """An explanation that says why there is none.

    Raises:
        Problem: it may be possible later.
    """
    if problem.retriable:
        raise problem
    return replace(told, differences=(f"it cannot be made again: {problem.detail}",))


async def _see_it_is_as_recorded(case: Case) -> None:
    if found := list(differences(case.decision, await remake(case))):
        raise Incompatible(f"decision {case.decision.decision_id}, which it repeats, is not as recorded: {found[0]}")


def _from(part: OffsetRange, first: int) -> OffsetRange:
    """What of a range stands at an offset or later."""
    first = min(max(part.first, first), part.end)
    return OffsetRange(topic=part.topic, partition=part.partition, first=first, end=part.end)


def differences(decision: RecommendationServed, remade: Remade) -> Iterator[str]:
    """How the record differs from the remake, one sentence each; scores must agree to the last bit."""
    if decision.history_sha256 != remade.history_sha256 or decision.history_length != remade.history_length:
        yield (
            f"the history differs: {decision.history_length} items were recorded ({decision.history_sha256[:12]}), "
            f"the log gives {remade.history_length} ({remade.history_sha256[:12]})"
        )
    if decision.candidates != remade.candidates:
        yield f"{decision.candidates} candidates were recorded, the log gives {remade.candidates}"
    if tuple(decision.filtered) != remade.filtered:
        yield f"filtered were {_list(decision.filtered)}, the log gives {_list(remade.filtered)}"
    for place, (was, now) in enumerate(zip_longest(decision.items, remade.items), start=1):
        recorded_item = None if was is None else (was.item_id, np.float32(was.score))
        rebuilt_item = None if now is None else (now[0], np.float32(now[1]))
        if recorded_item != rebuilt_item:
            yield f"place {place}: {_item(recorded_item)} was recorded, the log gives {_item(rebuilt_item)}"
    if (decision.source == "none") != (not remade.items):
        yield f"the source was '{decision.source}', the log gives {len(remade.items)} items"


def contradictions(decision: RecommendationServed, known: Known) -> Iterator[str]:
    """Recorded reasons for a fallback that the log contradicts, one sentence each.

    Whether Triton answered is not in the log; whether somebody consented and had a history is.
    """
    reason = decision.fallback_reason
    if reason == "no_consent" and known.profile.personalisation:
        yield "the reason was that the user does not consent to personalisation, and in the log the user does"
    if reason in ("new_user", "unknown_user") and known.history:
        yield f"the reason was that the user has no history, and the log has one of {len(known.history)} items"


def _item(item: tuple[str, np.float32] | None) -> str:
    return "nothing" if item is None else f"{item[0]} with {item[1]!s}"


def _list(items: Sequence[str]) -> str:
    return ", ".join(items) or "none"
