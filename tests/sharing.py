"""What the workers of one test run share: its servers, and whose turn it is to hurt them."""

import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.settings import Settings, child_environment
from infra.stack.stack import Progress, Stack


class SharedStack(Stack):
    """Servers that only a test that runs alone may hurt."""

    is_alone = False

    def up(
        self, names: Sequence[str] | None = None, *, servers_only: bool = False, progress: Progress | None = None
    ) -> None:
        """See `Stack`; by a process that ends at once, since no worker may be the parent of what another one kills."""
        wanted = list(names or ()) or ["--servers-only"]
        environment = child_environment(Settings(data_dir=self.data_dir))
        command = [sys.executable, "-m", "console", "up", *wanted]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def kill(self, name: str) -> None:
        """See `Stack`."""
        self._check()
        super().kill(name)

    def pause(self, name: str) -> None:
        """See `Stack`."""
        self._check()
        super().pause(name)

    def _check(self) -> None:
        assert self.is_alone, "mark this test with `alone`: others are using the servers"


@contextmanager
def shared_stack(folder: Path) -> Iterator[SharedStack]:
    """Started by the first worker that needs the servers, ended by the last that did."""
    stack = SharedStack(Settings(data_dir=folder / "stack"))
    users = folder / "stack.users"
    _count(users, +1, lambda _: stack.up(servers_only=True))
    try:
        yield stack
    finally:
        _count(users, -1, lambda left: stack.down() if left == 0 else None)


def _count(users: Path, more: int, then: Callable[[int], object]) -> None:
    with users.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        now = int(file.read() or 0) + more
        file.truncate(0)
        file.write(str(now))
        then(now)


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Together with all others, or after them and before any other.

    Whoever comes passes the door first, and who wants to be alone keeps it shut meanwhile: nobody waits for ever.
    """
    with (folder / "door").open("w") as door, (folder / "room").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield
