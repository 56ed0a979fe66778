"""Which run begins when: places are few, and whoever asked first is first.

The installation has a number of places, and each takes one run at a time. A run that has begun keeps its place until it
ends, whoever holds the place by then. How many runs of one model may be under way at once is a limit of its own; a run
that waits for it lets those of other models pass.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from inference.training.runs import Run, Runs


@dataclass(frozen=True)
class Waiting:
    """A run that cannot begin yet.

    Attributes:
        ahead: runs that were asked for before it and wait as well.
        reason: what it waits for.
    """

    run: Run
    ahead: int
    reason: str


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        jobs: by place, the run that it takes: the one that has begun in it, else the next in order.
        waiting: the others, in order.
    """

    jobs: Mapping[int, Run]
    waiting: Sequence[Waiting]


def plan(runs: Runs, places: int, per_model: int) -> Plan:
    """What each place is to work on.

    Args:
        places: how many there are.
        per_model: runs of one model that may be under way at once.
    """
    under_way = sorted((run for run in runs.values() if run.is_under_way), key=_begun)
    jobs: dict[int, Run] = {}
    for run in under_way:
        jobs.setdefault((run.slot or 0) % places, run)  # there may be fewer places than when it began
    busy = Counter(run.model for run in under_way)
    free = [place for place in range(places) if place not in jobs]
    waiting: list[Waiting] = []
    for run in in_order(runs.values()):
        if busy[run.model] >= per_model:
            waiting.append(Waiting(run, len(waiting), _said(busy[run.model], f"of model {run.model} ")))
        elif not free:
            waiting.append(Waiting(run, len(waiting), _said(busy.total(), "")))
        else:
            busy[run.model] += 1
            jobs[free.pop(0)] = run
    return Plan(jobs, waiting)


def in_order(runs: Iterable[Run]) -> list[Run]:
    """The runs that wait, the one that was asked for first at the front."""
    return sorted((run for run in runs if run.is_waiting), key=lambda run: (run.since, run.key))


def _begun(run: Run) -> tuple[object, object]:
    return run.started_at or run.since, run.key


def _said(number: int, of: str) -> str:
    one = number == 1
    return f"{number} run{'' if one else 's'} {of}{'is' if one else 'are'} under way, and no more are at once"
