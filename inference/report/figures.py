"""From counts to the figures of a report: shares, quantiles, courses over time, shifts."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from inference.report.answers import HISTORY_BINS, Answers
from inference.report.drift import Shift, deciles, shift
from inference.report.tally import FINE, bin_value, moment, quantile

EXPECTED = frozenset({"no_model", "new_user", "unknown_user", "no_consent", "unknown_items", "nothing_left"})
"""Reasons to fall back that are no trouble: nobody could have been answered by the model."""

BURST_SHARE, BURST_LEAST = 0.1, 20
"""A burst: in a step of time with so many answers at least, at least this share fell back for trouble."""

FIRST_SHARE = 0.25
"""The earliest part of the answers, with which the rest is compared."""


class Figures:
    """What the answers of one model amount to.

    Args:
        answers: of the period.
        model: whose.
    """

    def __init__(self, answers: Answers, model: str) -> None:
        self._model = model
        self._answers = answers
        self._step_s = answers.tally.step_s
        self._starts = answers.tally.starts()
        self._by: defaultdict[str, list[tuple[int, Any, Any, int]]] = defaultdict(list)
        for start, (dimension, of, version, value), count in answers.tally.by_start():
            if of == model:
                self._by[str(dimension)].append((start, version, value, count))

    @property
    def total(self) -> int:
        """Answers."""
        return sum(count for _, _, _, count in self._by["source"])

    def counts(self, dimension: str) -> dict[str, int]:
        """Over all of the period, by value."""
        found: Counter[str] = Counter()
        for _, _, value, count in self._by[dimension]:
            found[str(value)] += count
        return dict(sorted(found.items()))

    def latency(self) -> dict[str, float | None]:
        """Quantiles of the time to answer, in milliseconds, and the longest."""
        histogram = _histogram(self._by["latency"])
        longest = self._answers.slowest_ms.get(self._model)
        return {**_quantiles(histogram), "max": None if longest is None else round(longest, 2)}

    def course(self) -> dict[str, Any]:
        """Answers by source and their latency, step by step."""
        sources: defaultdict[int, Counter[str]] = defaultdict(Counter)
        for start, _, source, count in self._by["source"]:
            sources[start][str(source)] += count
        times: defaultdict[int, list[tuple[int, Any, Any, int]]] = defaultdict(list)
        for row in self._by["latency"]:
            times[row[0]].append(row)
        steps = [
            {
                "from": moment(start).isoformat(),
                "answers": dict(sorted(sources[start].items())),
                "latency_ms": _quantiles(_histogram(times[start])),
            }
            for start in self._starts
        ]
        return {"step_s": self._step_s, "steps": steps if self.total else []}

    def versions(self, on_offer: int) -> list[dict[str, Any]]:
        """By version, how many answers and how much of the catalogue was shown; None is popular answers."""
        found: Counter[int | None] = Counter()
        for _, version, _, count in self._by["source"]:
            found[version] += count
        return [
            {"version": version, "answers": count, **self._shown(version, on_offer)}
            for version, count in sorted(found.items(), key=lambda pair: pair[0] or 0)
        ]

    def _shown(self, version: int | None, on_offer: int) -> dict[str, Any]:
        items = self._answers.items.get((self._model, version), Counter())
        share = min(1.0, len(items) / on_offer) if on_offer else None
        return {"items": len(items), "share_of_catalogue": share}

    def newcomers(self) -> dict[str, Any]:
        """Answers to people without any history."""
        lengths = self.counts("history")
        new = lengths.get("0", 0)
        return {"answers": new, "share": new / self.total if self.total else None}

    def bursts(self) -> list[dict[str, Any]]:
        """Times in which many answers fell back for trouble; steps that follow each other are one burst."""
        totals: Counter[int] = Counter()
        troubled: defaultdict[int, Counter[str]] = defaultdict(Counter)
        for start, _, _, count in self._by["source"]:
            totals[start] += count
        for start, _, reason, count in self._by["reason"]:
            if reason not in EXPECTED:
                troubled[start][str(reason)] += count
        bad = [s for s in sorted(troubled) if _is_burst(troubled[s].total(), totals[s])]
        return [self._burst(group, totals, troubled) for group in _runs(bad, self._step_s)]

    def _burst(
        self, starts: list[int], totals: Mapping[int, int], troubled: Mapping[int, Counter[str]]
    ) -> dict[str, Any]:
        reasons: Counter[str] = sum((troubled[start] for start in starts), Counter())
        return {
            "from": moment(starts[0]).isoformat(),
            "to": moment(starts[-1] + self._step_s).isoformat(),
            "answers": sum(totals[start] for start in starts),
            "fallen_back": reasons.total(),
            "reasons": dict(sorted(reasons.items())),
        }

    def shifts(self) -> list[dict[str, Any]]:
        """The first part of the answers beside the rest."""
        found = [
            shift_fields("sources", "what made the answers", self._cut("source")),
            shift_fields("history", "length of history", self._cut("history", _history_order)),
            shift_fields("categories", "categories of the items shown", self._cut("category")),
        ]
        versions = sorted({version for _, version, _, _ in self._by["score"] if version is not None})
        return found + [self._scores(version) for version in versions]

    def _cut(self, dimension: str, order: Callable[[str], Any] = str) -> Shift:
        before, since = self._parts(self._by[dimension])
        return shift(*(dict(sorted(side.items(), key=lambda pair: order(pair[0]))) for side in (before, since)))

    def _scores(self, version: int) -> dict[str, Any]:
        before, since = self._parts([row for row in self._by["score"] if row[1] == version])
        first, rest = ({int(place): count for place, count in side.items()} for side in (before, since))
        ends, *sides = deciles(first, rest)
        found = shift_fields("scores", f"best scores of version {version}", shift(*sides), labels=_scores_up_to(ends))
        return {**found, "version": version}

    def _parts(self, rows: list[tuple[int, Any, Any, int]]) -> tuple[Counter[str], Counter[str]]:
        """Counts by value: the earliest steps that hold `FIRST_SHARE` of the events, and the others."""
        steps: Counter[int] = Counter()
        for start, _, _, count in rows:
            steps[start] += count
        passed, border = 0, 0
        for border in sorted(steps):
            passed += steps[border]
            if passed >= FIRST_SHARE * steps.total():
                break
        before: Counter[str] = Counter()
        since: Counter[str] = Counter()
        for start, _, value, count in rows:
            (before if start <= border else since)[str(value)] += count
        return before, since


def _is_burst(troubled: int, answers: int) -> bool:
    return answers >= BURST_LEAST and troubled >= BURST_SHARE * answers


def _runs(starts: Iterable[int], step_s: int) -> list[list[int]]:
    found: list[list[int]] = []
    for start in starts:
        if found and start - found[-1][-1] == step_s:
            found[-1].append(start)
        else:
            found.append([start])
    return found


def _histogram(rows: Iterable[tuple[int, Any, Any, int]]) -> dict[int, int]:
    found: Counter[int] = Counter()
    for _, _, place, count in rows:
        if place is not None:
            found[place] += count
    return found


def _quantiles(histogram: Mapping[int, int]) -> dict[str, float | None]:
    found = {name: quantile(histogram, share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    return {name: None if value is None else round(value, 2) for name, value in found.items()}


def _history_order(label: str) -> int:
    return int(label)


def history_label(begin: int) -> str:
    """A bin of lengths in words: `3-5`."""
    later = [n for n in HISTORY_BINS if n > begin]
    if not later:
        return f"{begin} or more"
    return str(begin) if later[0] == begin + 1 else f"{begin}-{later[0] - 1}"


def _scores_up_to(ends: Sequence[int]) -> list[str]:
    """What the joined bins of scores are called: by the highest of each, the last by the lowest."""
    values = [f"{bin_value(end + 1, FINE):.4g}" for end in ends]
    return [*(f"up to {value}" for value in values), f"over {values[-1]}" if values else "any"]


def shift_fields(name: str, what: str, found: Shift, labels: Sequence[str] = ()) -> dict[str, Any]:
    """A comparison of two distributions.

    Args:
        labels: what the bins are called, where their names are the places of these.
    """
    bins = sorted(found.baseline.keys() | found.rest.keys(), key=lambda b: (int(b), "") if b.isdecimal() else (0, b))
    return {
        "name": name,
        "what": what,
        "psi": round(found.psi, 6),
        "chance": round(found.chance, 6),
        "verdict": found.verdict,
        "baseline": sum(found.baseline.values()),
        "rest": sum(found.rest.values()),
        "bins": [
            {
                "bin": labels[int(b)] if labels else history_label(int(b)) if name == "history" else b,
                "baseline": found.baseline.get(b, 0),
                "rest": found.rest.get(b, 0),
            }
            for b in bins
        ],
    }
