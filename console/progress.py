"""How far something is, on standard error: a bar for people who watch, a line now and then for files."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from infra.kafka.replay import Progress, Report

LINE_EVERY_S = 10.0


@contextmanager
def following(screen: Console, what: str) -> Iterator[Report]:
    """Gives what is to be called with each progress."""
    if not screen.is_terminal:
        yield _Lines(screen, what)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Bar(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(what, told="")
        yield lambda one: bar.update(task, completed=one.done, total=one.total, told=told(one))


class _Lines:
    def __init__(self, screen: Console, what: str) -> None:
        self._screen, self._what = screen, what
        self._told = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self._told >= LINE_EVERY_S:
            self._told = time.monotonic()
            self._screen.print(f"{self._what}: {told(progress)}", soft_wrap=True)


def told(progress: Progress) -> str:
    """A progress in words."""
    share = progress.done / progress.total if progress.total else 1.0
    left = "" if progress.eta_s is None else f", {progress.eta_s:,.0f} s left"
    return f"{share:.0%}, {progress.done:,} of {progress.total:,} offsets{left}"
