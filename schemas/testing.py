"""What the specifications of all parts share: saying readably how something differs."""

from collections.abc import Sequence
from difflib import ndiff
from pprint import pformat
from typing import Any

WIDTH = 100


def difference(what: str, expected: Sequence[Any], got: Sequence[Any]) -> str:
    """A message that shows two lists side by side, line by line; lines with `-` were expected, with `+` came.

    Args:
        what: of what they are, in the plural.
    """
    lines = ndiff(_lines(expected), _lines(got))
    return f"other {what} than expected ({len(got)}, expected {len(expected)}):\n" + "\n".join(lines)


def _lines(values: Sequence[Any]) -> list[str]:
    return [line for value in values for line in pformat(value, width=WIDTH, sort_dicts=False).splitlines()] or [
        "nothing"
    ]
