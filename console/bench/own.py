"""A stack that only the benchmark uses: made for it, and removed with its folder at the end."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from infra.settings import Settings
from infra.stack.stack import Stack
from schemas.errors import Invalid, Rejected

MARK = "this-folder-is-removed-by-retrace-bench"


@contextmanager
def own_stack(folder: Path, screen: Console) -> Iterator[Stack]:
    """A stack in `folder`, stopped and removed when the block ends, however it ends.

    Raises:
        Invalid: the folder holds something else, or the settings name servers that somebody else runs.
        Rejected: another benchmark is using it.
    """
    settings = Settings(data_dir=folder)
    if settings.stack.engine == "external":
        raise Invalid(
            "The benchmark fills and restarts its servers, so it does not use external ones.", code="external"
        )
    with _claimed(folder):
        stack = Stack(settings)
        stack.down()  # left running by a benchmark that was killed
        _empty(folder)
        try:
            yield stack
        finally:
            with screen.status("stopping and removing the benchmark's stack"):
                stack.down()
                _empty(folder)
                shutil.rmtree(folder)


def is_own(folder: Path) -> bool:
    """Whether a benchmark made this folder."""
    return (folder / MARK).exists()


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    if folder.exists() and any(folder.iterdir()) and not is_own(folder):
        raise Invalid(f"{folder} is not empty and no benchmark made it; name another folder.", code="foreign_folder")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / MARK).open("a") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise Rejected(f"Another benchmark is using {folder}.", code="bench_running") from fault
        yield


def _empty(folder: Path) -> None:
    """Remove everything but the mark."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != MARK:
            path.unlink()
