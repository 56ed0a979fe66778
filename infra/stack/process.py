"""A server process that outlives the command that started it.

Its pid is kept together with its time of birth, so that a number the system has given to another process is never
signalled. Each server leads a session of its own, which holds its helpers too (Triton's stubs) and makes them findable
after it died.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from schemas.errors import Unavailable

LOG_LIMIT_BYTES = 50_000_000
POLL_S = 0.02
FREEZE_S = 2.0


@dataclass(frozen=True)
class Command:
    """What to run."""

    argv: Sequence[str]
    environment: Mapping[str, str]


def birth(pid: int) -> str | None:
    """When a process began, in a form that survives clock changes; None when it is gone.

    A zombie is gone only with its last thread: until then it may hold ports and files.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _birth_elsewhere(pid)
    gone = stat[0] in "ZX" and int(stat[17]) <= 1
    return None if gone else f"{boot}/{stat[19]}"


def _birth_elsewhere(pid: int) -> str | None:
    """The same without /proc."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return str(round(process.create_time()))
    return None


class Daemon:
    """One named process under a data folder: `run/<name>.json` says which, `logs/<name>.log` what it said."""

    def __init__(self, name: str, data_dir: Path) -> None:
        self.name = name
        self.log = data_dir / "logs" / f"{name}.log"
        self._file = data_dir / "run" / f"{name}.json"

    @property
    def pid(self) -> int | None:
        """The process, while it lives."""
        noted = self._noted()
        if noted is None:
            return None
        pid, born = noted
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return pid if birth(pid) == born else None

    @property
    def started(self) -> bool:
        """Whether it was started and not stopped by us since."""
        return self._file.is_file()

    def start(self, command: Command) -> None:
        """Run the command in a session of its own, with its output in the log.

        Raises:
            Unavailable: the program cannot be run.
        """
        self._end_orphans()
        for folder in (self.log.parent, self._file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self._rotate()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        try:
            pid = os.posix_spawn(
                command.argv[0],
                list(command.argv),
                command.environment,
                file_actions=actions,
                setsid=True,
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGPIPE],
                setsigmask=[],
            )
        except OSError as error:
            raise Unavailable(f"{self.name} cannot be run: {error}.", code="not_runnable") from error
        self._file.write_text(json.dumps({"pid": pid, "born": birth(pid)}))

    def stop(self, sign: signal.Signals, timeout_s: float) -> None:
        """Ask it to stop, wait, and kill what is left."""
        if pid := self.pid:
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                self.resume()  # who is frozen hears nothing
                os.kill(pid, sign)
            self._wait(timeout_s)
        self.kill()
        self._file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End it and its helpers at once, as a crash would."""
        if pid := self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            self._wait(5.0)
        self._end_orphans()

    def pause(self) -> None:
        """Freeze it and its helpers, and return when it is frozen.

        Raises:
            Unavailable: it does not run.
        """
        family = self._signal(signal.SIGSTOP)
        until = time.monotonic() + FREEZE_S
        while not all(map(_is_frozen, family)) and time.monotonic() < until:
            time.sleep(POLL_S)

    def resume(self) -> None:
        """Let it and its helpers go on.

        Raises:
            Unavailable: it does not run.
        """
        self._signal(signal.SIGCONT)

    def last_words(self, lines: int = 8) -> str:
        """The end of its log."""
        if not self.log.is_file():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])

    def _signal(self, sign: signal.Signals) -> list[psutil.Process]:
        """Send a signal to it and to all that it started (those of PostgreSQL leave its session)."""
        pid = self.pid
        if pid is None:
            raise Unavailable(f"{self.name} does not run.", code="not_running")
        leader = psutil.Process(pid)
        leader.send_signal(sign)
        family = [leader, *leader.children(recursive=True)]
        for helper in family[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                helper.send_signal(sign)
        return family

    def _noted(self) -> tuple[int, str] | None:
        try:
            note = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return int(note["pid"]), str(note["born"])

    def _wait(self, timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        while self.pid is not None and time.monotonic() < until:
            time.sleep(POLL_S)

    def _end_orphans(self) -> None:
        """Kill what is left of the session of a leader that died; while one is left, its number is not given away."""
        noted = self._noted()
        if noted is None or birth(noted[0]) is not None:
            return
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
                if os.getsid(process.pid) == noted[0]:
                    process.kill()

    def _rotate(self) -> None:
        if self.log.is_file() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))


def _is_frozen(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:  # a helper that has ended does nothing either
        return True
