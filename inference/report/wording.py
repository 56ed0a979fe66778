"""Numbers and times in words, the same everywhere in a report."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from schemas.models import OffsetRange


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 answer`, `2,000 answers`, `no answers`."""
    if number == 1:
        return f"1 {one}"
    return f"{number:,} {many or one + 's'}" if number else f"no {many or one + 's'}"


def percent(part: float, whole: float) -> str:
    """`12.5 %`; never 100 % of what is not whole, nor 0 % of something."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "under 0.1 %"
    if 99.9 < share < 100:
        return "over 99.9 %"
    return f"{share:.0f} %" if share in (0, 100) else f"{share:.1f} %"


def when(moment: datetime | str | None) -> str:
    """`2026-11-21 13:00:05`, in UTC; a dash for never."""
    if moment is None:
        return "–"
    one = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{one:%Y-%m-%d %H:%M:%S}"


def duration(seconds: float | None) -> str:
    """`0.3 s`, `4 min`, `3 h`, `2 days`."""
    if seconds is None:
        return "–"
    for limit, size, unit in ((60, 1, "s"), (5400, 60, "min"), (129600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 86400:.3g} days"


def listed(words: Sequence[str], most: int = 5) -> str:
    """`a, b and c`; of many the first, and how many more."""
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most} more"
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def places(ranges: Iterable[OffsetRange]) -> list[str]:
    """Ranges as evidence: `topic/partition/first..end`, the end not included."""
    return [f"{r.topic}/{r.partition}/{r.first}..{r.end}" for r in ranges if r.end > r.first]
