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

from console.faults.history import Effect, Operation

Kind: TypeAlias = Literal["lost", "duplicated", "stale success", "effect of a refusal", "gap", "told wrongly", "order"]


class Violation(NamedTuple):
    """A promise that was broken."""

    kind: Kind
    detail: str


def check_history(operations: Sequence[Operation], effects: Sequence[Effect]) -> list[Violation]:
    """Every broken promise.

    Args:
        operations: with marks that are all different.
        effects: of the whole log, in its order.
    """
    found: dict[str, list[Effect]] = defaultdict(list)
    for effect in effects:
        found[effect.mark].append(effect)
    return [
        *_duplicated(found),
        *_gaps(effects),
        *(violation for operation in operations for violation in _held(operation, found.get(operation.mark, []))),
        *_order(operations),
    ]


def _duplicated(found: Mapping[str, Sequence[Effect]]) -> Iterator[Violation]:
    for mark, effects in found.items():
        if len(effects) > 1:
            places = ", ".join(effect.position for effect in effects)
            yield Violation("duplicated", f"{mark} took effect {len(effects)} times: {places}")


def _gaps(effects: Iterable[Effect]) -> Iterator[Violation]:
    versions: Counter[str] = Counter()
    for effect in effects:
        versions[effect.user] += 1
        if effect.version != versions[effect.user]:
            yield Violation("gap", f"{effect.position} is version {effect.version}, after {versions[effect.user] - 1}")
            versions[effect.user] = effect.version


def _held(operation: Operation, effects: Sequence[Effect]) -> Iterator[Violation]:
    """One operation against what it did."""
    if operation.outcome == "refused" and effects:
        yield Violation("effect of a refusal", f"{operation.mark} was refused with {operation.code} and took effect")
    if operation.outcome == "accepted" and not effects:
        yield Violation("lost", f"{operation.mark} was accepted at {operation.position} and is not in the log")
    for effect in effects:
        said = (operation.user, operation.version, operation.position)
        if operation.outcome == "accepted" and said != (effect.user, effect.version, effect.position):
            yield Violation("told wrongly", f"{operation.mark} was told {said}, and stands at {effect}")
        if operation.expected is not None and effect.version != operation.expected + 1:
            expected = f"insisted on version {operation.expected}"
            yield Violation("stale success", f"{operation.mark} {expected} and became version {effect.version}")


def _order(operations: Sequence[Operation]) -> Iterator[Violation]:
    """What began after another one was answered comes after it."""
    by_user: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        if operation.outcome == "accepted":
            by_user[operation.user].append(operation)
    for accepted in by_user.values():
        under_way: list[tuple[float, int, str]] = []
        newest, newest_mark = 0, ""
        for operation in sorted(accepted, key=lambda one: one.began):
            while under_way and under_way[0][0] < operation.began:
                _, version, mark = heappop(under_way)
                newest, newest_mark = max((newest, newest_mark), (version, mark))
            if operation.version <= newest:
                later = f"{operation.mark} (version {operation.version})"
                yield Violation("order", f"{later} began after {newest_mark} (version {newest}) was answered")
            heappush(under_way, (operation.ended, operation.version, operation.mark))
