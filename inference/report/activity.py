"""What people did: how much in the period, and with which items before and after a model was trained."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import polars as pl

from inference.report.scope import Scope
from inference.report.tally import Tally
from infra.kafka.ranges import ordered_ranges
from schemas.models import OffsetRange

INTERACTIONS = "interactions"


class Activity:
    """The fold of `interactions`: counts by item, no event is kept.

    Args:
        scope: the period.
        trained: by name, the parts that something was trained on.
        people: count how many people there are in those parts, which takes memory for each of them.
    """

    def __init__(self, scope: Scope, trained: Mapping[str, Iterable[OffsetRange]], *, people: bool = False) -> None:
        self._scope = scope
        self._people = people
        self._trained = {name: _spans(ranges) for name, ranges in trained.items()}
        self.trained: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.since: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.users: defaultdict[str, set[str]] = defaultdict(set)
        self.kinds: Counter[str] = Counter()
        self.tally = Tally()

    def ranges(self) -> list[OffsetRange]:
        """What has to be read: the period and every part that was trained on, each offset once."""
        spans = [((r.topic, r.partition), r.first, r.end) for r in self._scope.during(INTERACTIONS)]
        for parts in self._trained.values():
            spans += [((INTERACTIONS, number), *span) for number, held in parts.items() for span in held]
        return ordered_ranges(_joined(spans))

    def take(self, table: pl.DataFrame) -> None:
        """The next events, of one partition."""
        number = int(table["_partition"][0])
        first, end = self._scope.span(INTERACTIONS, number)
        during = table.filter(pl.col("_offset").is_between(first, end, closed="left"))
        self._count(during)
        for name, spans in self._trained.items():
            known = _within(table, spans.get(number, ()))
            self.trained[name].update(_by_item(known))
            if self._people:
                self.users[name].update(known["user_id"].unique())
            newest = max((span[1] for span in spans.get(number, ())), default=0)
            self.since[name].update(_by_item(during.filter(pl.col("_offset") >= newest)))

    def _count(self, during: pl.DataFrame) -> None:
        if len(during) == 0:
            return
        self.kinds.update(dict(during.group_by("kind").len().rows()))
        seconds = during["_timestamp"].dt.epoch("s")
        first, last = seconds.min(), seconds.max()
        assert isinstance(first, int)
        assert isinstance(last, int)
        self.tally.widen(first, last)
        step = self.tally.step_s
        for start, count in (seconds - seconds % step).value_counts().iter_rows():
            self.tally.add(start, ("interactions",), count)


def _spans(ranges: Iterable[OffsetRange]) -> dict[int, list[tuple[int, int]]]:
    found: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for part in ranges:
        if part.topic == INTERACTIONS:
            found[part.partition].append((part.first, part.end))
    return found


def _within(table: pl.DataFrame, spans: Iterable[tuple[int, int]]) -> pl.DataFrame:
    inside = pl.lit(False)
    for first, end in spans:
        inside = inside | pl.col("_offset").is_between(first, end, closed="left")
    return table.filter(inside)


def _by_item(table: pl.DataFrame) -> dict[str, int]:
    return dict(table.group_by("item_id").len().rows())


def _joined(spans: Iterable[tuple[tuple[str, int], int, int]]) -> list[OffsetRange]:
    """The same offsets as ranges that do not overlap."""
    found: list[OffsetRange] = []
    for (topic, number), first, end in sorted(spans):
        last = found[-1] if found else None
        if last is not None and (last.topic, last.partition) == (topic, number) and first <= last.end:
            found[-1] = OffsetRange(topic=topic, partition=number, first=last.first, end=max(last.end, end))
        else:
            found.append(OffsetRange(topic=topic, partition=number, first=first, end=end))
    return found
