"""The checker of a campaign: it has to find what is broken, and nothing where nothing is."""

from dataclasses import replace
from pathlib import Path

import pytest

from console.faults.check import Violation, check_history
from console.faults.history import Effect, Operation, Told, read_history, write_history


def accepted(mark: str, version: int, began: float, ended: float, expected: int | None = None) -> Operation:
    """An operation on ana that was told yes."""
    return Operation(
        mark,
        "ana",
        began,
        expected=expected,
        ended=ended,
        outcome="accepted",
        status=200,
        version=version,
        position=f"profiles/0/{version - 1}",
        attempts=1,
    )


def refused(mark: str, version: int, offset: int, began: float, ended: float, expected: int) -> Operation:
    """An operation on ana that was told that ana is at another version than expected."""
    said = accepted(mark, version, began, ended, expected)
    return replace(said, outcome="refused", status=412, code="version_conflict", position=f"profiles/0/{offset}")


def effect(mark: str, version: int, offset: int | None = None, command: int | None = None) -> Effect:
    """What stands in the log of it."""
    at = version - 1 if offset is None else offset
    return Effect(mark, "ana", version, f"profiles/0/{at}", command=at if command is None else command)


def answer(mark: str, version: int, offset: int) -> Effect:
    """A record that answers and changes nothing."""
    return replace(effect(mark, version, offset), changes=False)


FINE = ([accepted("a", 1, 0, 1), accepted("b", 2, 2, 3, expected=1)], [effect("a", 1), effect("b", 2)])
NEVER_TOLD = Operation("c", "ana", 4, ended=5, status=504)


def kinds(violations: list[Violation]) -> set[str]:
    return {violation.kind for violation in violations}


def test_a_history_that_the_log_agrees_with_is_fine() -> None:
    """A checker that cries wolf is not listened to."""
    assert check_history(*FINE) == []


def test_what_nobody_answered_may_have_happened_or_not() -> None:
    """A timeout says nothing; only twice would be wrong."""
    operations, effects = FINE
    assert check_history([*operations, NEVER_TOLD], effects) == []
    assert check_history([*operations, NEVER_TOLD], [*effects, effect("c", 3)]) == []
    twice = [*effects, effect("c", 3), effect("c", 4)]
    assert kinds(check_history([*operations, NEVER_TOLD], twice)) == {"duplicated"}


def test_a_refusal_and_an_acceptance_without_effect_are_fine_where_they_are_on_record() -> None:
    """Both leave a record that changes nothing, and saw a version that was the newest."""
    operations, effects = FINE
    unchanged = replace(accepted("c", 2, 4, 5), changed=False, position="profiles/0/2")
    no = refused("d", 2, 3, 6, 7, expected=1)
    assert check_history([*operations, unchanged, no], [*effects, answer("c", 2, 2), answer("d", 2, 3)]) == []


def test_a_void_record_is_no_effect() -> None:
    """The rule; taken as an effect it would be seen at once."""
    operations, effects = FINE
    late = replace(effect("b", 2, 2, 1), counts=False)
    assert check_history(operations, [*effects, late]) == []
    assert kinds(check_history(operations, [*effects, replace(late, counts=True)])) == {"duplicated", "gap", "answers"}


@pytest.mark.parametrize(
    ("operations", "effects", "kind"),
    [
        (FINE[0], [effect("a", 1)], "lost"),
        (FINE[0], [effect("a", 1), answer("b", 2, 1)], "lost"),
        (FINE[0], [*FINE[1], effect("a", 3)], "duplicated"),
        (FINE[0], [effect("a", 1), effect("b", 3)], "gap"),
        (FINE[0], [effect("a", 1), effect("b", 2, offset=9)], "told wrongly"),
        ([accepted("a", 1, 0, 1), accepted("b", 2, 2, 3, expected=0)], FINE[1], "stale success"),
        ([accepted("a", 1, 2, 3), accepted("b", 2, 0, 1)], FINE[1], "order"),
        ([*FINE[0], refused("c", 1, 2, 4, 5, expected=7)], [*FINE[1], answer("c", 1, 2)], "order"),
        ([refused("a", 1, 0, 0, 1, expected=4)], [effect("a", 1)], "effect of a refusal"),
        ([*FINE[0], refused("c", 2, 2, 4, 5, expected=1)], FINE[1], "lost"),
        ([*FINE[0], refused("c", 2, 2, 4, 5, expected=2)], [*FINE[1], answer("c", 2, 2)], "wrong refusal"),
        (FINE[0], [effect("a", 1), effect("b", 2, command=4)], "answers"),
        (FINE[0], [effect("a", 1), effect("b", 2, command=0)], "answers"),
        (
            [replace(FINE[0][0], again=[Told("refused", 1, "profiles/0/0")]), FINE[0][1]],
            FINE[1],
            "told differently",
        ),
        ([*FINE[0], replace(NEVER_TOLD, again=[Told("accepted", 3, "profiles/0/2")])], FINE[1], "lost"),
        (
            [*FINE[0], replace(NEVER_TOLD, again=[Told("refused", 2, "")])],
            [*FINE[1], effect("c", 3)],
            "effect of a refusal",
        ),
    ],
)
def test_each_broken_promise_is_found(operations: list[Operation], effects: list[Effect], kind: str) -> None:
    """One history for every anomaly; a campaign without findings means something only then."""
    assert kind in kinds(check_history(operations, effects))


def test_a_history_can_be_checked_again(tmp_path: Path) -> None:
    """Somebody else may doubt the checker, and write a better one."""
    operations, effects = FINE
    history = ([replace(operations[0], again=[Told("accepted", 1, "profiles/0/0")]), operations[1]], effects)
    write_history(tmp_path / "h", *history)
    assert read_history(tmp_path / "h") == history
