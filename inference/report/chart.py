"""Charts as SVG within the page: no script, no font, nothing fetched; colours come from the page, for light and dark.

Each is drawn twice, for a wide and for a narrow page, and the page shows one: texts keep their size on a telephone.
What the log says goes through `Markup.format`, which escapes it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup

from inference.report.axis import Tick, numbers, times, title

WIDE, NARROW = 920, 344
TOP, BOTTOM, RIGHT = 28, 42, 12
LETTER = 6.6
"""Mean width of a letter, in units of the drawing."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Area:
    """Where the data of a chart are drawn."""

    left: float
    top: float
    width: float
    height: float

    def x(self, share: float) -> float:
        """A place on the horizontal axis, by its share."""
        return round(self.left + self.width * share, 2)

    def y(self, share: float) -> float:
        """A place on the vertical axis, by its share from below."""
        return round(self.top + self.height * (1 - share), 2)


def both(draw: Callable[[int], Markup]) -> Markup:
    """A chart for wide and for narrow pages."""
    parts = ((WIDE, "wide"), (NARROW, "narrow"))
    return Markup("").join(Markup('<div class="chart {}">{}</div>').format(kind, draw(width)) for width, kind in parts)


def svg(width: int, height: float, says: str, parts: Iterable[Markup]) -> Markup:
    """A drawing, and what it shows for those who cannot see it."""
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(width, round(height, 1), says)
    return head + Markup("").join(parts) + Markup("</svg>")


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> Markup:
    """Words in a drawing."""
    return Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>').format(
        round(x, 2), round(y, 2), kind, anchor, words
    )


def rect(x: float, y: float, width: float, height: float, kind: str, says: str = "") -> Markup:
    """A box; `says` shows when it is pointed at."""
    box = Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}">').format(
        round(x, 2), round(y, 2), round(max(width, 0.0), 2), round(max(height, 0.0), 2), kind
    )
    return box + (Markup("<title>{}</title>").format(says) if says else Markup("")) + Markup("</rect>")


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line."""
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(
        *(round(v, 2) for v in (x1, y1, x2, y2)), kind
    )


def timeline(servings: Sequence[Json], since: datetime, until: datetime) -> Markup:
    """Which version served when: a bar for each, one row for each model."""
    rows = list(dict.fromkeys(str(one["model"]) for one in servings))
    says = "; ".join(f"{s['model']} version {s['version']} from {s['from'][:19]}" for s in servings)
    return both(lambda width: _timeline(width, rows, servings, since, until, says))


def _timeline(
    width: int, rows: Sequence[str], servings: Sequence[Json], since: datetime, until: datetime, says: str
) -> Markup:
    height = 34.0
    area = Area(4, 20, width - 8 - RIGHT, 54.0 * len(rows) - 20)
    parts = [*_time_axis(area, since, until, width)]
    for row, model in enumerate(rows):
        top = area.top + row * 54
        parts.append(text(area.left, top - 6, _cut(model, area.width), "strong", "start"))
        own = [one for one in servings if one["model"] == model]
        parts += [_bar(area, one, place, since, until, top, height) for place, one in enumerate(own)]
    return svg(width, area.top + area.height + BOTTOM, f"Versions in production. {says}", parts)


def _bar(area: Area, one: Json, place: int, since: datetime, until: datetime, top: float, height: float) -> Markup:
    length = max((until - since).total_seconds(), 1.0)
    ends = (max(datetime.fromisoformat(one["from"]), since), datetime.fromisoformat(one["to"]) if one["to"] else until)
    x1, x2 = (area.x((end - since).total_seconds() / length) for end in ends)
    says = f"version {one['version']} ({one['algorithm']}) from {one['from'][:19]} to {(one['to'] or 'now')[:19]}"
    box = rect(x1, top, max(x2 - x1 - 1.5, 1.5), height, f"version v{place % 6}", says)
    words = next(
        (w for w in (f"version {one['version']} · {one['algorithm']}", f"v{one['version']}") if _fits(w, x2 - x1)), ""
    )
    return box + (text((x1 + x2) / 2, top + height / 2 + 4, words, "on") if words else Markup(""))


def _fits(words: str, width: float) -> bool:
    return len(words) * LETTER + 8 <= width


def _cut(words: str, width: float) -> str:
    most = int(width / LETTER)
    return words if len(words) <= most else words[: most - 1] + "…"


def stacked(
    course: Json, kinds: Sequence[tuple[str, str]], name: str, unit: str, marks: Sequence[tuple[datetime, str]] = ()
) -> Markup:
    """Counts over time, one kind upon another.

    Args:
        course: steps of equal length, as `Figures.course` has them.
        kinds: each kind and the class that colours it, the lowest first.
        unit: what is counted.
        marks: moments worth a line, and what to write at each.
    """
    says = f"up to {_highest(course):,} {unit} in {length(course['step_s'])}"
    return both(lambda width: _stacked(width, course, kinds, unit, f"{name}. {says}", marks))


def _highest(course: Json) -> int:
    return max((sum(step["answers"].values()) for step in course["steps"]), default=0)


def _stacked(
    width: int,
    course: Json,
    kinds: Sequence[tuple[str, str]],
    unit: str,
    says: str,
    marks: Sequence[tuple[datetime, str]],
) -> Markup:
    steps, step = course["steps"], timedelta(seconds=course["step_s"])
    end, ticks = numbers(_highest(course), 4)
    area = _area(width, ticks, 190)
    first, last = _ends(course)
    parts = [*_value_axis(area, ticks, unit), *_time_axis(area, first, last, width)]
    each = area.width / len(steps)
    for place, one in enumerate(steps):
        base = 0.0
        at = datetime.fromisoformat(one["from"])
        for kind, colour in kinds:
            if count := one["answers"].get(kind, 0):
                x, y = area.left + place * each, area.y((base + count) / end)
                tip = f"{at:%Y-%m-%d %H:%M:%S} to {at + step:%H:%M:%S}: {count:,} {kind.replace('_', ' ')}"
                parts.append(rect(x + each * 0.06, y, each * 0.88, area.height * count / end, colour, tip))
                base += count
    parts += _marks(area, first, last, marks, free=len(unit) * LETTER + 16)
    return svg(width, area.top + area.height + BOTTOM, says, parts)


def _marks(
    area: Area, first: datetime, last: datetime, marks: Sequence[tuple[datetime, str]], free: float
) -> Iterable[Markup]:
    """A line at each moment; words only from `free` on, and where they do not run into those before."""
    for at, words in marks:
        if first <= at <= last:
            x = area.x((at - first) / (last - first))
            yield line(x, area.top - 4, x, area.top + area.height, "mark")
            if x - len(words) * LETTER / 2 > free:
                yield text(x, area.top - 8, words, "tick")
                free = x + len(words) * LETTER / 2 + 6


def lines(course: Json, series: Sequence[tuple[str, str, str]], name: str) -> Markup:
    """Values over time, a line for each series.

    Args:
        course: steps whose `latency_ms` has the series.
        series: each series, the class that colours it, and what it is called.
    """
    values = [step["latency_ms"][key] for step in course["steps"] for key, _, _ in series]
    highest = max((value for value in values if value is not None), default=0.0)
    says = f"up to {highest:,.1f} ms"
    return both(lambda width: _lines(width, course, series, name, says, highest))


def _lines(
    width: int, course: Json, series: Sequence[tuple[str, str, str]], name: str, says: str, highest: float
) -> Markup:
    end, ticks = numbers(highest, 4)
    area = _area(width, ticks, 150)
    parts = [*_value_axis(area, ticks, "milliseconds"), *_time_axis(area, *_ends(course), width)]
    each = 1 / len(course["steps"])
    for key, colour, _ in series:
        points = [
            (area.x((place + 0.5) * each), area.y(value / end))
            for place, step in enumerate(course["steps"])
            if (value := step["latency_ms"][key]) is not None
        ]
        path = " ".join(f"{x},{y}" for x, y in points)
        parts.append(Markup('<polyline points="{}" class="line {}"/>').format(path, colour))
        parts += [Markup('<circle cx="{}" cy="{}" r="2" class="{}"/>').format(x, y, colour) for x, y in points[:120]]
    return svg(width, area.top + area.height + BOTTOM, f"{name}. {says}", parts)


def _ends(course: Json) -> tuple[datetime, datetime]:
    steps = course["steps"]
    last = datetime.fromisoformat(steps[-1]["from"]) + timedelta(seconds=course["step_s"])
    return datetime.fromisoformat(steps[0]["from"]), last


def _area(width: int, ticks: Sequence[Tick], height: float) -> Area:
    left = max(len(tick.label) for tick in ticks) * LETTER + 10
    return Area(left, TOP, width - left - RIGHT, height)


def _value_axis(area: Area, ticks: Sequence[Tick], unit: str) -> Iterable[Markup]:
    yield text(2, area.top - 14, unit, "tick", "start")
    for tick in ticks:
        y = area.y(tick.at)
        yield line(area.left, y, area.left + area.width, y, "grid")
        yield text(area.left - 6, y + 4, tick.label, "tick", "end")


def _time_axis(area: Area, first: datetime, last: datetime, width: int) -> Iterable[Markup]:
    low = area.top + area.height
    yield line(area.left, low, area.left + area.width, low, "axis")
    for tick in times(first, last, 8 if width == WIDE else 4):
        x = area.x(tick.at)
        yield line(x, low, x, low + 4, "axis")
        half = len(tick.label) * LETTER / 2
        yield text(min(max(x, half), width - half), low + 17, tick.label, "tick")
    yield text(area.left + area.width / 2, low + 35, title(first, last), "tick")


def length(step_s: int) -> str:
    """A step of time in words, such as `5 minutes`."""
    for size, unit in ((604_800, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute")):
        if step_s % size == 0:
            number = step_s // size
            return f"{'an' if unit == 'hour' else 'a'} {unit}" if number == 1 else f"{number} {unit}s"
    return "a second" if step_s == 1 else f"{step_s} seconds"
