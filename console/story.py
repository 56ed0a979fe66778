"""Telling what happens: steps with progress and times, and a table of them at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table


@dataclass
class Step:
    """One step of a story.

    Attributes:
        outcome: what came of it, one line.
    """

    title: str
    outcome: str = ""
    seconds: float = 0.0
    _progress: Progress | None = None
    _task: TaskID | None = None

    def tell(self, text: str) -> None:
        """Say beside the title what goes on."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=f"{self.title}  [dim]{text}[/]")

    def total(self, count: int) -> None:
        """Say how much there is to do, so that the bar has an end."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=count)

    def advance(self, count: int = 1) -> None:
        """Say that so much more is done."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, count)


@dataclass
class Story:
    """The steps so far, shown on `console`."""

    console: Console
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show one step while it happens and its outcome when it is done; a fault shows as such and goes on up."""
        step = Step(title)
        self.steps.append(step)
        started = time.perf_counter()
        with _bar(self.console) as progress:
            step._progress, step._task = progress, progress.add_task(title, total=None)
            try:
                yield step
            except BaseException:
                self.console.print(f"[red]✗[/] {title}", highlight=False)
                raise
            finally:
                step.seconds = time.perf_counter() - started
        self.console.print(f"[green]✓[/] {title} [dim]{step.seconds:.1f} s[/]  {step.outcome}", highlight=False)

    def closing_table(self) -> Table:
        """What happened, with times."""
        table = Table(title="What happened", show_footer=True, title_justify="left")
        table.add_column("step", footer="altogether")
        table.add_column("outcome")
        table.add_column("seconds", justify="right", footer=f"{sum(s.seconds for s in self.steps):.1f}")
        for step in self.steps:
            table.add_row(step.title, step.outcome, f"{step.seconds:.1f}")
        return table


def _bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
