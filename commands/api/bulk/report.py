"""What is wrong with an upload."""

from collections.abc import Iterable, Mapping
from typing import Any

from commands.api.bulk.progress import REPORTED
from commands.api.validation import Fault


class Report:
    """The first problems, and how many lines were refused.

    Args:
        refused: lines refused by earlier attempts.
        problems: theirs.
    """

    def __init__(self, refused: int = 0, problems: Iterable[Mapping[str, Any]] = ()) -> None:
        self.refused = refused
        self.problems: list[Mapping[str, Any]] = list(problems)

    def refuse(self, line: int, code: str, *faults: Fault) -> None:
        """One line is left out, for one or several faults."""
        self.refused += 1
        room = REPORTED - len(self.problems)
        self.problems += [{"line": line, "code": code, **fault.error()} for fault in faults[:room]]
