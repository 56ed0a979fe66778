"""What is learnt, what may be seen, what has to be predicted: one task to choose hyper-parameters on, one to report.

All items are ranked, what is in a history is masked, and nothing of the reported task is seen before it is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from inference.interactions import Interactions
from inference.quality.formats import Data, Lines, Sequences, Split, Timed, as_interactions
from inference.training.evaluation import RETURNING, Case, cases
from inference.training.split import by_time
from schemas.errors import Invalid

HELD_OUT = 0.1
"""Share of each user's training pairs that hyper-parameters are chosen on, where there are no times."""

TESTED = 0.2
"""Share of each user's pairs that is the test, where nobody has split any off."""

LATEST = 0.2
"""Share of the interactions, the latest, that is predicted where there are times."""

CUTS = 3
"""Moments before the reported one at which hyper-parameters are tried."""

SHOWN = 0.5
"""Share of a user's later interactions that are live history when the rest is predicted."""

CHOSEN_ON = 10_000
"""Users at most that hyper-parameters are chosen on."""

SEED = 17

Measure: TypeAlias = tuple[str, int]
"""A field of `Metrics`, and at how many places."""

RECALL_20, NDCG_20, HR_10, NDCG_10 = ("recall", 20), ("ndcg", 20), ("hit_rate", 10), ("ndcg", 10)


@dataclass(frozen=True)
class Task:
    """What to learn from, and whom to predict for."""

    train: Interactions
    cases: list[Case]


@dataclass(frozen=True)
class Protocol:
    """How a data set is used.

    Attributes:
        shape: users, items and interactions of the whole data set.
        ordered: whether the order of a history means anything.
        has_times: whether the times do.
        goal: the metrics that the published tables report; hyper-parameters are chosen by their mean.
        choices: hyper-parameters are chosen here.
        report: and held against others here.
        says: for people.
    """

    name: str
    shape: tuple[int, int, int]
    ordered: bool
    has_times: bool
    goal: Sequence[Measure]
    choices: tuple[Task, ...]
    report: Task
    says: str


def protocol_of(data: Data) -> Protocol:
    """The protocol that the published tables of such data follow.

    Raises:
        Invalid: too little is left to learn from or to predict.
    """
    protocol = _protocol(data)
    if not all(task.cases for task in (*protocol.choices, protocol.report)):
        raise Invalid(
            f"{data.name}: nobody has anything left to predict that they had not met before", code="empty_split"
        )
    return protocol


def _protocol(data: Data) -> Protocol:
    match data:
        case Split():
            return _split(data)
        case Sequences():
            return _leave_one_out(data)
        case Timed():
            return _in_time(data)


def _split(data: Split) -> Protocol:
    says = "given split; training items masked; hyper-parameters on a tenth of each user's training pairs"
    train, test = data.train, data.test
    if test is None:
        train, test = _part_of_each(data.train, TESTED, SEED + 1)
        says = says.replace("given split", "a fifth of each user's pairs, drawn, is the test")
    kept, held = _part_of_each(train, HELD_OUT, SEED)
    choice, report = Task(kept, _some(cases(kept, held))), Task(train, cases(train, test))
    items = set(train.items) | set(test.items)
    shape = (len(set(train.users) | set(test.users)), len(items), len(train) + len(test))
    return Protocol(data.name, shape, False, False, (RECALL_20, NDCG_20), (choice,), report, says)


def _part_of_each(data: Interactions, share: float, seed: int) -> tuple[Interactions, Interactions]:
    """All but a share of each user's pairs, and that share; of users with few pairs perhaps nothing."""
    held = np.random.default_rng(seed).random(len(data)) < share
    if held.all() or not held.any():
        raise Invalid("there are too few pairs to hold any out", code="empty_split")
    return data.select(~held), data.select(held)


def _leave_one_out(data: Sequences) -> Protocol:
    long = {user: items for user, items in data.histories.items() if len(items) >= 3}
    if not long:
        raise Invalid(f"{data.name}: nobody has three items, one each to learn, choose and test", code="empty_split")
    before: Lines = {user: items[:-2] if user in long else items for user, items in data.histories.items()}
    known: Lines = {user: items[:-1] if user in long else items for user, items in data.histories.items()}
    says = "last item of each user; the one before chooses hyper-parameters and is then part of the history"
    choice = Task(as_interactions(before), _some(_last(before, {u: i[-2] for u, i in long.items()})))
    report = Task(as_interactions(known), _last(known, {u: i[-1] for u, i in long.items()}))
    whole = as_interactions(data.histories)
    shape = (len(whole.users), len(whole.items), len(whole))
    return Protocol(data.name, shape, True, False, (HR_10, NDCG_10), (choice,), report, says)


def _last(histories: Lines, following: dict[str, str]) -> list[Case]:
    return [
        Case(user, tuple(histories[user]), frozenset([item]), RETURNING)
        for user, item in following.items()
        if item not in histories[user]
    ]


def _in_time(data: Timed) -> Protocol:
    train, test = by_time(data.interactions, LATEST)
    says = (
        "the latest fifth in time; half of each user's part of it is live history, the rest is predicted; "
        f"hyper-parameters on the latest fifth of what is before, {CUTS} times"
    )
    report = Task(train, cases(train, test, fold_in=SHOWN))
    whole = data.interactions
    shape = (len(whole.users), len(whole.items), len(whole))
    return Protocol(data.name, shape, True, True, (HR_10, NDCG_10), _earlier(train), report, says)


def _earlier(data: Interactions) -> tuple[Task, ...]:
    """The same task at earlier moments: a choice that is good at one of them alone would be an accident."""
    tasks: list[Task] = []
    while len(tasks) < CUTS:
        try:
            data, later = by_time(data, LATEST)
        except Invalid:
            break
        if found := cases(data, later, fold_in=SHOWN):
            tasks.append(Task(data, _some(found)))
    if not tasks:
        raise Invalid("there are too few interactions to choose hyper-parameters on", code="empty_split")
    return tuple(tasks)


def _some(found: list[Case]) -> list[Case]:
    """So many of them that a choice is no accident, and no more."""
    if len(found) <= CHOSEN_ON:
        return found
    picked = np.random.default_rng(SEED).choice(len(found), CHOSEN_ON, replace=False)
    return [found[i] for i in sorted(picked.tolist())]
