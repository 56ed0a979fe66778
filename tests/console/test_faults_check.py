"""The checker of a campaign: it has to find what is broken, and nothing where nothing is."""

from pathlib import Path

import pytest

from console.faults.check import Violation, check_history
from console.faults.history import Effect, Operation, read_history, write_history


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
        position=f"profiles/0/{version}",
        attempts=1,
    )


def effect(mark: str, version: int, position: int | None = None) -> Effect:
    """What stands in the log of it."""
    return Effect(mark, "ana", version, f"profiles/0/{version if position is None else position}")


FINE = ([accepted("a", 1, 0, 1), accepted("b", 2, 2, 3, expected=1)], [effect("a", 1), effect("b", 2)])


def kinds(violations: list[Violation]) -> set[str]:
    return {violation.kind for violation in violations}


def test_a_history_that_the_log_agrees_with_is_fine() -> None:
    """A checker that cries wolf is not listened to."""
    assert check_history(*FINE) == []


def test_what_nobody_answered_may_have_happened_or_not() -> None:
    """A timeout says nothing; only twice would be wrong."""
    unknown = Operation("c", "ana", 4, ended=5, status=504)
    operations, effects = FINE
    assert check_history([*operations, unknown], effects) == []
    assert check_history([*operations, unknown], [*effects, effect("c", 3)]) == []
    assert kinds(check_history([*operations, unknown], [*effects, effect("c", 3), effect("c", 4)])) == {"duplicated"}


@pytest.mark.parametrize(
    ("operations", "effects", "kind"),
    [
        (FINE[0], [effect("a", 1)], "lost"),
        (FINE[0], [*FINE[1], effect("a", 3)], "duplicated"),
        (FINE[0], [effect("a", 1), effect("b", 3)], "gap"),
        (FINE[0], [effect("a", 1), effect("b", 2, position=9)], "told wrongly"),
        ([accepted("a", 1, 0, 1), accepted("b", 2, 2, 3, expected=0)], FINE[1], "stale success"),
        ([accepted("a", 1, 2, 3), accepted("b", 2, 0, 1)], FINE[1], "order"),
        (
            [Operation("a", "ana", 0, ended=1, outcome="refused", status=412, code="version_conflict")],
            [effect("a", 1)],
            "effect of a refusal",
        ),
    ],
)
def test_each_broken_promise_is_found(operations: list[Operation], effects: list[Effect], kind: str) -> None:
    """One history for every anomaly; a campaign without findings means something only then."""
    assert kind in kinds(check_history(operations, effects))


def test_a_history_can_be_checked_again(tmp_path: Path) -> None:
    """Somebody else may doubt the checker, and write a better one."""
    write_history(tmp_path / "h", *FINE)
    assert read_history(tmp_path / "h") == FINE
