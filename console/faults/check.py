"""Holding the history of a campaign against the log: nothing lost, nothing twice, no success on a stale version.

The idea is Jepsen's: clients note what they asked and what they were told, and a checker that knows nothing of the
system compares. It is simple here, because the log is there to compare with: every effect carries the mark of its
operation, and the order of an aggregate's events is its version.

Source: Kingsbury, Alvaro, Elle: Inferring Isolation Anomalies from Experimental Observations (VLDB 2020), for the
anomalies; the order in real time is Herlihy and Wing's linearizability (1990), per aggregate.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Literal, NamedTuple, TypeAlias

from console.faults.history import Effect, Operation, Told

Kind: TypeAlias = Literal[
    "lost",
    "duplicated",
    "stale success",
    "wrong refusal",
    "effect of a refusal",
    "gap",
    "told wrongly",
    "told differently",
    "order",
    "answers",
]


class Violation(NamedTuple):
    """A promise that was broken."""

    kind: Kind
    detail: str


def check_history(operations: Sequence[Operation], effects: Iterable[Effect]) -> list[Violation]:
    """Every broken promise.

    Args:
        operations: with marks that are all different.
        effects: of the whole log, in its order; void ones are left out here.
    """
    counted = [effect for effect in effects if effect.counts]
    changes = [effect for effect in counted if effect.changes]
    places = {effect.position: effect for effect in counted}
    by_mark: dict[str, list[Effect]] = defaultdict(list)
    for effect in changes:
        by_mark[effect.mark].append(effect)
    return [
        *_duplicated(by_mark),
        *_gaps(changes),
        *_answers(counted),
        *(broken for one in operations for broken in _held(one, by_mark.get(one.mark, []), places)),
        *_order(operations),
    ]


def _duplicated(by_mark: Mapping[str, Sequence[Effect]]) -> Iterator[Violation]:
    for mark, effects in by_mark.items():
        if len(effects) > 1:
            places = ", ".join(effect.position for effect in effects)
            yield Violation("duplicated", f"{mark} took effect {len(effects)} times: {places}")


def _gaps(changes: Iterable[Effect]) -> Iterator[Violation]:
    """Versions of an aggregate go up by one."""
    versions: Counter[str] = Counter()
    for effect in changes:
        versions[effect.user] += 1
        if effect.version != versions[effect.user]:
            yield Violation("gap", f"{effect.position} is version {effect.version}, after {versions[effect.user] - 1}")
            versions[effect.user] = effect.version


def _answers(counted: Iterable[Effect]) -> Iterator[Violation]:
    """The commands of a partition are answered one after the other, each once; here each leads to one event."""
    following: Counter[str] = Counter()
    for effect in counted:
        if effect.command != following[effect.partition]:
            expected = following[effect.partition]
            yield Violation("answers", f"{effect.position} answers command {effect.command}, {expected} was next")
        following[effect.partition] = effect.command + 1


def _held(operation: Operation, effects: Sequence[Effect], places: Mapping[str, Effect]) -> Iterator[Violation]:
    """One operation against what it did."""
    told = operation.told()
    if len(set(told)) > 1:
        yield Violation("told differently", f"{operation.mark} was told {told}")
    for said in told:
        yield from _kept(operation, said, effects, places)
    for effect in effects:
        if operation.expected is not None and effect.version != operation.expected + 1:
            expected = f"insisted on version {operation.expected}"
            yield Violation("stale success", f"{operation.mark} {expected} and became version {effect.version}")


def _kept(
    operation: Operation, said: Told, effects: Sequence[Effect], places: Mapping[str, Effect]
) -> Iterator[Violation]:
    """One answer against what stands where it points."""
    at, accepted = places.get(said.position), said.outcome == "accepted"
    if at is None and (accepted or said.position):
        yield Violation("lost", f"{operation.mark} was {said.outcome} at {said.position}, which is not in the log")
    elif at is not None and (at.mark, at.user, at.version) != (operation.mark, operation.user, said.version):
        yield Violation("told wrongly", f"{operation.mark} was told {said}, where {at} stands")
    if accepted and effects and at not in effects:
        yield Violation("told wrongly", f"{operation.mark} was told {said}, and took effect as {effects}")
    if accepted and operation.changed and operation.outcome == "accepted" and not effects:
        yield Violation("lost", f"{operation.mark} was accepted at {said.position} and took no effect")
    if not accepted and effects:
        yield Violation("effect of a refusal", f"{operation.mark} was refused with {operation.code} and took effect")
    if not accepted and operation.code == "version_conflict" and said.version == operation.expected:
        yield Violation("wrong refusal", f"{operation.mark} insisted on version {said.version}, which it found")
    if accepted and not effects and operation.expected not in (None, said.version):
        yield Violation("stale success", f"{operation.mark} insisted on {operation.expected}, found {said.version}")


def _order(operations: Iterable[Operation]) -> Iterator[Violation]:
    """What began after another one was answered comes after it; a refusal saw at least that version."""
    by_user: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        if operation.outcome != "unknown" and operation.position:
            by_user[operation.user].append(operation)
    for decided in by_user.values():
        yield from _order_of_one(sorted(decided, key=lambda one: one.began))


def _order_of_one(decided: Iterable[Operation]) -> Iterator[Violation]:
    under_way: list[tuple[float, int, str]] = []
    newest, newest_mark = 0, ""
    for operation in decided:
        while under_way and under_way[0][0] < operation.began:
            _, version, mark = heappop(under_way)
            newest, newest_mark = max((newest, newest_mark), (version, mark))
        changed = operation.outcome == "accepted" and operation.changed
        if operation.version < newest + changed:
            later = f"{operation.mark} (version {operation.version})"
            yield Violation("order", f"{later} began after {newest_mark} (version {newest}) was answered")
        heappush(under_way, (operation.ended, operation.version, operation.mark))
