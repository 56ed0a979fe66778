"""Axes of a chart: where the ticks stand and what is written at them."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

STEPS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1_800),
    *(3_600, 7_200, 10_800, 21_600, 43_200),
    *(
        86_400,
        172_800,
        345_600,
        604_800,
        1_209_600,
        2_419_200,
        7_257_600,
        31_536_000,
        63_072_000,
        157_680_000,
        630_720_000,
    ),
)
"""Distances that people read easily."""


@dataclass(frozen=True)
class Tick:
    """A mark at `at`, between 0 and 1 of the axis."""

    at: float
    label: str


def numbers(highest: float, most: int) -> tuple[float, list[Tick]]:
    """The end of an axis that begins at 0, and its ticks, at steps of 1, 2 or 5."""
    if highest <= 0:
        return 1.0, [Tick(0.0, "0"), Tick(1.0, "1")]
    raw = highest / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * n for n in (1, 2, 5, 10) if size * n >= raw)
    count = math.ceil(highest / step - 1e-9)
    return step * count, [Tick(i / count, _number(i * step)) for i in range(count + 1)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.12g}"


def times(first: datetime, last: datetime, most: int) -> list[Tick]:
    """Ticks of a time axis, in UTC, at round times; at least one."""
    length = (last - first).total_seconds()
    if length <= 0:
        return [Tick(0.5, label(first, 1))]
    step = next((s for s in STEPS_S if length / s <= most), STEPS_S[-1])
    begin = math.ceil(first.timestamp() / step) * step
    stamps = range(begin, math.floor(last.timestamp()) + 1, step)
    found = [Tick((s - first.timestamp()) / length, label(datetime.fromtimestamp(s, UTC), step)) for s in stamps]
    return found or [Tick(0.5, label(first + timedelta(seconds=length / 2), 1))]


def label(moment: datetime, step_s: int) -> str:
    """A time as short as the distance between ticks allows."""
    if step_s >= 2_419_200:
        return f"{moment:%b %Y}"
    if step_s >= 86_400:
        return f"{moment:%b} {moment.day}"
    if step_s >= 60:
        return f"{moment:%H:%M}"
    return f"{moment:%H:%M:%S}"


def title(first: datetime, last: datetime) -> str:
    """What a time axis says below its ticks: the days, where the ticks do not."""
    if first.date() == last.date():
        return f"time (UTC), {first:%Y-%m-%d}"
    return f"time (UTC), {first:%Y-%m-%d} to {last:%Y-%m-%d}"
