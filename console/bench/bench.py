"""What every section works with, and how runs of several participants alternate."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rich.console import Console

from console.bench.figure import Figure, Sample, Samples, number
from infra.settings import Settings
from infra.stack.stack import Stack

Measure: TypeAlias = Callable[[], Awaitable[Sample]]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured.

    Attributes:
        runs: of everything.
        load_s: how long an open loop sends.
        closed_s: how long a closed loop runs.
        ingest: events of one bulk upload.
        log: events in the log that is projected and replayed.
        items: of the catalogue that is projected.
        few: events for those that would take minutes for `log`; the figure is a rate.
        ratings: of MovieLens, for the recommender.
        fresh: interactions whose effect is waited for.
        rebuild: events in the log that a read model is rebuilt from, and in the one that decisions are explained from.
    """

    runs: int
    load_s: float = 20
    closed_s: float = 5
    ingest: int = 200_000
    log: int = 400_000
    items: int = 20_000
    few: int = 10_000
    ratings: int = 100_000
    fresh: int = 20
    rebuild: int = 1_000_000


def quick(runs: int) -> Sizes:
    """Enough to see that it works; the figures are rough."""
    return Sizes(
        runs=runs,
        load_s=4,
        closed_s=2,
        ingest=30_000,
        log=40_000,
        items=3_000,
        few=3_000,
        ratings=20_000,
        fresh=5,
        rebuild=40_000,
    )


@dataclass
class Bench:
    """One benchmark.

    Attributes:
        stack: of its own.
        screen: where progress is told.
        has_eventsourcing: whether the library of that name is installed.
        notes: what the reader of the figures should know.
    """

    stack: Stack
    sizes: Sizes
    screen: Console
    has_eventsourcing: bool
    notes: list[str] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """With the addresses of the stack as it is now."""
        return self.stack.settings

    def corner(self, name: str) -> Settings:
        """Settings with topics and a schema that only the section `name` uses; no service works on them."""
        settings = self.settings
        postgres = settings.postgres.model_copy(update={"db_schema": f"{settings.postgres.db_schema}_bench_{name}"})
        return settings.model_copy(
            update={"topic_prefix": f"{settings.topic_prefix}bench.{name}.", "postgres": postgres}
        )

    def say(self, what: str) -> None:
        """Tell how far the benchmark is."""
        self.screen.print(what, highlight=False, soft_wrap=True)

    async def alternate(self, section: str, participants: Mapping[str, Measure], *, warm_up: bool = False) -> Samples:
        """Let everybody run once, then everybody again: whatever else the machine does hits all alike.

        Args:
            warm_up: whether everybody runs once more beforehand, uncounted: short runs would measure imports.
        """
        for measure in participants.values() if warm_up else ():
            await measure()
        samples: dict[str, list[Sample]] = {who: [] for who in participants}
        for run in range(1, self.sizes.runs + 1):
            for who, measure in participants.items():
                sample = await measure()
                samples[who].append(sample)
                told = ", ".join(f"{key} {number(value)}" for key, value in sample.items())
                self.say(f"  {section} {run}/{self.sizes.runs} [bold]{who}[/]: {told}")
        return samples


@dataclass(frozen=True)
class Section:
    """One thing that is measured.

    Attributes:
        name: as the command line has it.
        place: in the order of sections.
        needs: servers and services that run meanwhile, and no others.
        run: measures.
    """

    name: str
    place: int
    needs: tuple[str, ...]
    run: Callable[[Bench], Coroutine[Any, Any, list[Figure]]]
