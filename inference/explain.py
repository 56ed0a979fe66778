"""Why somebody was answered what they were, shown by making the answer again from the log.

The record in the log names what was known and what scored. Both are fetched anew: the inputs by folding the log up to
the recorded positions, the artifact by its hash. Then the same pure functions as in serving make the answer, and it is
compared. What cannot be made again is said to be so, never to be identical.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import zip_longest

import numpy as np
import psycopg

from inference import candidates
from inference.inputs import history_sha256, model_input
from inference.reasons import Reason, reasons
from inference.rebuild import Known, Log, Shelf
from inference.scorer import OnnxScorer
from inference.store import ArtifactStore
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.personal.files import erased
from infra.postgres import connect
from infra.settings import Settings
from schemas.decisions import RecommendationServed
from schemas.errors import Incompatible, Invalid, NotFound, Problem
from schemas.models import OffsetRange

DECISIONS = "decisions"

Scored = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Remade:
    """The answer as the log says it should have been.

    Attributes:
        candidates: how many there were before filters.
        filtered: those taken out.
        reasons: by item, the past interactions that speak most for it; empty where no model answered.
    """

    items: tuple[tuple[str, float], ...]
    filtered: tuple[str, ...]
    candidates: int
    history: tuple[str, ...]
    history_length: int
    history_sha256: str
    titles: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, tuple[Reason, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """A decision beside its remake.

    Attributes:
        decision: as recorded.
        position: where the record stands.
        remade: None when it could not be made again.
        differences: one sentence each; why not, when it could not be made again.
    """

    decision: RecommendationServed
    position: str
    remade: Remade | None
    differences: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether the answer was made again and is the same in everything."""
        return self.remade is not None and not self.differences


async def explain(settings: Settings, decoder: Decoder, decision_id: str) -> Explanation:
    """Make a decision again and compare.

    Raises:
        NotFound: the log has no such decision.
        Gone: whom it was for has been erased: nobody is told any more what they were shown, and why.
        Unavailable: brokers, registry or artifact store do not answer.
    """
    log = Log(settings, decoder)
    decision, position = await find(settings, log, decision_id)
    if await log.erased(decision.user_id):
        raise erased(decision.user_id)
    try:
        remade = await _remake(settings, log, decision)
    except Problem as problem:
        if problem.retriable:
            raise
        return Explanation(decision, position, None, (f"it cannot be made again: {problem.detail}",))
    return Explanation(decision, position, remade, tuple(differences(decision, remade)))


async def find(settings: Settings, log: Log, decision_id: str) -> tuple[RecommendationServed, str]:
    """The record of a decision, from the log; the read model only says where to look first.

    Raises:
        NotFound: the log has no such decision.
        Unavailable: the brokers do not answer.
    """
    hint = await _hint(settings, decision_id)
    found = None
    if hint is not None:
        with suppress(Invalid, NotFound):  # a read model of another log
            found = await log.decision([hint], decision_id)
    found = found or await log.decision(await ranges_now(settings, [DECISIONS]), decision_id)
    if found is None:
        raise NotFound(
            f"the log has no decision '{decision_id}': find it with GET /decisions/search", code="unknown_decision"
        )
    return found


async def _hint(settings: Settings, decision_id: str) -> OffsetRange | None:
    statement = 'SELECT partition, "offset" FROM decisions WHERE decision_id = %s'
    try:
        async with await connect(settings, "explain") as connection:
            row = await (await connection.execute(statement, (decision_id,))).fetchone()
    except (psycopg.Error, Problem):
        return None  # the whole topic is read instead
    if row is None:
        return None
    first = row["offset"]
    return OffsetRange(topic=DECISIONS, partition=row["partition"], first=first, end=first + 1)


async def _remake(settings: Settings, log: Log, decision: RecommendationServed) -> Remade:
    """The answer made again.

    Raises:
        Problem: part of the log, an artifact or an earlier decision is missing or changed.
    """
    known = await log.user(decision)
    if decision.source == "model":
        return await _by_model(settings, log, decision, known)
    if decision.source == "last_good":
        return await _settled(log, decision, known, await _earlier(settings, log, decision))
    return await _settled(log, decision, known, candidates.popular(await log.popularity(decision)))


async def _by_model(settings: Settings, log: Log, decision: RecommendationServed, known: Known) -> Remade:
    scorer = _scorer(settings, decision)
    given = model_input(known.history, scorer.metadata)
    scored = scorer.score(known.history)
    settled = await _settled(log, decision, known, scored)
    why = reasons(scorer, given, [item for item, _ in settled.items])
    return replace(settled, history_length=len(given.items), history_sha256=given.sha256, reasons=why)


async def _settled(log: Log, decision: RecommendationServed, known: Known, scored: Scored) -> Remade:
    """Filters applied as serving does."""
    shelf: Shelf = await log.shelf(decision, [*(item for item, _ in scored), *known.history])
    items, filtered = candidates.answer(scored, set(known.history), known.profile, shelf.items, decision.limit)
    return Remade(
        items=tuple(items),
        filtered=tuple(filtered),
        candidates=len(scored),
        history=known.history,
        history_length=len(known.history),
        history_sha256=history_sha256(known.history),
        titles=shelf.titles,
    )


async def _earlier(settings: Settings, log: Log, decision: RecommendationServed) -> Scored:
    """The candidates of the model's earlier answer that this one repeats, scored again.

    Raises:
        Incompatible: the earlier decision is none that could have been repeated.
    """
    if decision.based_on is None:
        raise Incompatible("it repeats an earlier answer and does not say which", code="based_on_missing")
    earlier, _ = await find(settings, log, decision.based_on)
    same = (earlier.user_id, earlier.model, earlier.artifact_sha256)
    if earlier.source != "model" or same != (decision.user_id, decision.model, decision.artifact_sha256):
        raise Incompatible(
            f"decision {decision.based_on}, which it says it repeats, is not an answer of that model for that user",
            code="based_on_differs",
        )
    remade = await _by_model(settings, log, earlier, await log.user(earlier))
    if found := list(differences(earlier, remade)):
        raise Incompatible(f"decision {decision.based_on}, which it repeats, is not as recorded: {found[0]}")
    return _scorer(settings, earlier).score(remade.history)


def _scorer(settings: Settings, decision: RecommendationServed) -> OnnxScorer:
    if decision.artifact_sha256 is None:
        raise Incompatible("the record names no artifact although a model answered", code="artifact_unnamed")
    return OnnxScorer(ArtifactStore(settings).get(decision.artifact_sha256))


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


def _item(item: tuple[str, np.float32] | None) -> str:
    return "nothing" if item is None else f"{item[0]} with {item[1]!s}"


def _list(items: Sequence[str]) -> str:
    return ", ".join(items) or "none"
