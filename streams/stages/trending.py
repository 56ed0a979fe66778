"""Which items are rising: interactions per item in a sliding window, against the window before.

Windows end at every multiple of the step and reach back for the length of the window. Counts are kept per pane (one
step), so that an event costs one addition however many windows hold it. Time is the time of the events.

- The *newest* window holds the newest event. Its rising items are told whenever the input pauses, and it is exact in
  whatever order the events came: what belongs to it, or to the window before it, is never too late.
- A window is *closed* once events are newer than its end by the lateness; its measurements are then told for the last
  time. It is exact when no event came later than the lateness allows.
- Windows in whose last step nothing happened are not measured: nothing but the clock has moved.

Two ids of events are compared only when the client chose them (UUIDv5): others cannot come twice.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from uuid import UUID, uuid5

from schemas.envelope import Meta
from schemas.features import ItemTrendMeasured
from schemas.interactions import InteractionRecorded
from streams.stage import Json, Output, Stage

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
NAMESPACE = UUID("5f1e8f0c-3c1f-5e0e-9a5b-6f2b1f8f7a10")
CHOSEN_BY_CLIENT = 5


@dataclass(frozen=True)
class Params:
    """How trends are measured.

    Attributes:
        window_s: length of a window, seconds; a multiple of the step.
        step_s: how far apart windows end, seconds.
        lateness_s: how much later than newer events an event may come and still count in its closed windows, seconds.
        top: how many items of a window are told, the best scores first.
        smoothing: interactions added to both sides of the score, so that one click on a quiet item is no trend.
        remembered_ids: client-chosen ids kept to leave out repeats, the newest ones.
        ignored: kinds of interaction that are no interest.
    """

    window_s: int = 24 * 3600
    step_s: int = 3600
    lateness_s: int = 3600
    top: int = 20
    smoothing: float = 5.0
    remembered_ids: int = 100_000
    ignored: tuple[str, ...] = ("skip",)

    def __post_init__(self) -> None:
        if self.step_s <= 0 or self.window_s < self.step_s or self.window_s % self.step_s:
            raise ValueError("window_s must be a multiple of step_s, and step_s more than 0")

    @property
    def panes(self) -> int:
        """Panes of a window."""
        return self.window_s // self.step_s

    @property
    def step_us(self) -> int:
        """Length of a pane, microseconds."""
        return self.step_s * 1_000_000

    @property
    def lateness_us(self) -> int:
        """The lateness in microseconds."""
        return self.lateness_s * 1_000_000


@dataclass
class Trend:
    """What is known: counts by pane and item, as far back as a window that is still open can need.

    Panes are numbered from 1970; a window goes by the number of its last pane.

    Attributes:
        clock_us: time of the newest event, microseconds since 1970; None before the first.
        counts: interactions by pane and item.
        open: windows that something happened at the end of and that are not closed.
        told: by open window and item, what was told last: interactions in it and in the window before.
        ids: client-chosen ids seen, the newest last.
        late: events that came too late for every open window, or from before 1970.
        changed: whether the newest window may have changed since the last settling.
    """

    clock_us: int | None = None
    counts: dict[int, Counter[str]] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    told: dict[int, dict[str, tuple[int, int]]] = field(default_factory=dict)
    ids: dict[UUID, None] = field(default_factory=dict)
    late: int = 0
    changed: bool = False


def step(params: Params, trend: Trend, event: InteractionRecorded, meta: Meta) -> tuple[Trend, Sequence[Output]]:
    """Count one interaction; tell the windows that it closes.

    An interaction cannot have happened after it was written: a client's clock that is ahead moves nothing.
    """
    if event.kind in params.ignored or _repeated(params, trend, meta.id):
        return trend, ()
    at_us = (min(event.occurred_at, meta.time) - EPOCH) // MICROSECOND
    pane = at_us // params.step_us
    if at_us < 0 or (trend.clock_us is not None and pane < _oldest(params, trend.clock_us)):
        trend.late += 1
        return trend, ()
    outputs = _advance(params, trend, at_us)
    trend.counts.setdefault(pane, Counter())[event.item_id] += 1
    if pane >= _first_open(params, trend.clock_us or 0):
        trend.open.add(pane)
    trend.changed = True
    return trend, outputs


def settle(params: Params, trend: Trend) -> tuple[Trend, Sequence[Output]]:
    """Tell what has changed among the rising items of the newest window."""
    if not trend.changed or trend.clock_us is None:
        return trend, ()
    trend.changed = False
    return trend, list(_tell(params, trend, trend.clock_us // params.step_us))


def dump(trend: Trend) -> Json:
    """The trend as JSON."""
    return {
        "clock_us": trend.clock_us,
        "counts": {str(pane): counter for pane, counter in trend.counts.items()},
        "open": sorted(trend.open),
        "told": {str(window): told for window, told in trend.told.items()},
        "ids": [str(id) for id in trend.ids],
        "late": trend.late,
    }


def load(kept: Json) -> Trend:
    """The trend that `dump` wrote."""
    return Trend(
        clock_us=kept["clock_us"],
        counts={int(pane): Counter(counter) for pane, counter in kept["counts"].items()},
        open=set(kept["open"]),
        told={int(w): {item: (now, before) for item, (now, before) in t.items()} for w, t in kept["told"].items()},
        ids={UUID(id): None for id in kept["ids"]},
        late=kept["late"],
        changed=True,
    )


def stage(params: Params) -> Stage[Trend]:
    """The stage that measures trends this way."""
    return Stage(
        name="trending",
        version=1,
        reads=(InteractionRecorded,),
        params=asdict(params),
        initial=Trend,
        step=lambda trend, event, meta: step(params, trend, event, meta),
        settle=lambda trend: settle(params, trend),
        dump=dump,
        load=load,
    )


def _repeated(params: Params, trend: Trend, id: UUID) -> bool:
    if id.version != CHOSEN_BY_CLIENT:
        return False
    if id in trend.ids:
        return True
    trend.ids[id] = None
    if len(trend.ids) > params.remembered_ids:
        del trend.ids[next(iter(trend.ids))]
    return False


def _first_open(params: Params, clock_us: int) -> int:
    """The oldest window that is not closed: its end and the lateness are not over."""
    return (clock_us - params.lateness_us) // params.step_us


def _oldest(params: Params, clock_us: int) -> int:
    """The oldest pane that an open window, or the one before it, reaches back to."""
    return _first_open(params, clock_us) - 2 * params.panes + 1


def _advance(params: Params, trend: Trend, at_us: int) -> list[Output]:
    """Move the clock, close what is over, forget what nothing open needs."""
    before_us = trend.clock_us
    if before_us is not None and at_us <= before_us:
        return []
    trend.clock_us = at_us
    first_open = _first_open(params, at_us)
    if before_us is None or _first_open(params, before_us) == first_open:
        return []
    closing = sorted(window for window in trend.open if window < first_open)
    outputs = [output for window in closing for output in _tell(params, trend, window)]
    for window in closing:
        trend.open.discard(window)
        trend.told.pop(window, None)
    for pane in [pane for pane in trend.counts if pane < _oldest(params, at_us)]:
        del trend.counts[pane]
    return outputs


def _tell(params: Params, trend: Trend, window: int) -> Iterator[Output]:
    """The best items of a window, and those told earlier, as far as they differ from what was told."""
    now = _sum(trend, range(window - params.panes + 1, window + 1))
    before = _sum(trend, range(window - 2 * params.panes + 1, window - params.panes + 1))
    told = trend.told.setdefault(window, {})
    for item in dict.fromkeys([*_best(params, now, before), *told]):
        measured = (now[item], before[item])
        if told.get(item) != measured:
            told[item] = measured
            yield _output(params, item, window, *measured)


def _sum(trend: Trend, panes: Iterable[int]) -> Counter[str]:
    total: Counter[str] = Counter()
    for pane in panes:
        if (counted := trend.counts.get(pane)) is not None:
            for item, number in counted.items():
                total[item] += number
    return total


def _best(params: Params, now: Counter[str], before: Counter[str]) -> list[str]:
    return nlargest(params.top, now, key=lambda item: (score(params, now[item], before[item]), now[item], item))


def score(params: Params, now: int, before: int) -> float:
    """Interactions over those of the window before, both smoothed; above 1 the item is rising."""
    return (now + params.smoothing) / (before + params.smoothing)


def _output(params: Params, item: str, window: int, now: int, before: int) -> Output:
    end = EPOCH + timedelta(microseconds=(window + 1) * params.step_us)
    start = end - timedelta(seconds=params.window_s)
    said = f"{item}|{start.isoformat()}|{end.isoformat()}|{now}|{before}"
    measured = ItemTrendMeasured(
        item_id=item, window_start=start, window_end=end, interactions=now, score=score(params, now, before)
    )
    return Output(measured, item, uuid5(NAMESPACE, said))


STAGE = stage(Params())
