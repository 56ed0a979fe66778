"""Processes: only ours are signalled, and none is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infra.stack.process import LOG_LIMIT_BYTES, Command, Daemon, birth
from schemas.errors import Unavailable

SLEEP = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); {SLEEP}"


def python(code: str) -> Command:
    return Command([sys.executable, "-c", code], dict(os.environ))


def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def test_a_process_is_found_again_by_another_command(tmp_path: Path) -> None:
    """`retrace down` is not the process that ran `retrace up`."""
    Daemon("it", tmp_path).start(python(SLEEP))
    other = Daemon("it", tmp_path)
    assert other.pid is not None
    other.stop(signal.SIGTERM, 5)
    assert other.pid is None
    assert not other.started


def test_a_recycled_pid_is_never_signalled(tmp_path: Path) -> None:
    """After a reboot the number in the file may be anybody's."""
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as stranger:
        note = tmp_path / "run" / "it.json"
        note.parent.mkdir()
        note.write_text(json.dumps({"pid": stranger.pid, "born": "another boot/1"}))
        daemon = Daemon("it", tmp_path)
        assert daemon.pid is None
        daemon.kill()
        daemon.stop(signal.SIGTERM, 1)
        assert stranger.poll() is None
        stranger.kill()


def test_who_does_not_listen_is_killed(tmp_path: Path) -> None:
    """`retrace down` always ends."""
    daemon = Daemon("it", tmp_path)
    daemon.start(python(STUBBORN))
    until(daemon.last_words)
    daemon.stop(signal.SIGTERM, 0.2)
    assert daemon.pid is None


def test_helpers_end_with_their_leader(tmp_path: Path) -> None:
    """Triton's stubs would hold memory and ports for ever."""
    daemon = Daemon("it", tmp_path)
    daemon.start(python(PARENT))
    pid = daemon.pid
    assert pid is not None
    until(lambda: psutil.Process(pid).children())
    helper = psutil.Process(pid).children()[0]
    os.kill(pid, signal.SIGKILL)
    until(lambda: daemon.pid is None)
    daemon.start(python(SLEEP))
    until(lambda: birth(helper.pid) is None)
    daemon.stop(signal.SIGTERM, 5)


def test_a_frozen_process_stops_too(tmp_path: Path) -> None:
    """A paused server may not make `down` wait for its timeout."""
    daemon = Daemon("it", tmp_path)
    daemon.start(python(SLEEP))
    daemon.pause()
    daemon.stop(signal.SIGTERM, 10)
    assert daemon.pid is None


def test_the_log_holds_what_was_said(tmp_path: Path) -> None:
    """It is what the user is shown when a server dies."""
    daemon = Daemon("it", tmp_path)
    daemon.start(python("import sys; print('to out'); print('to err', file=sys.stderr)"))
    until(lambda: daemon.pid is None)
    assert set(daemon.last_words().splitlines()) == {"to out", "to err"}
    assert daemon.log.stat().st_mode & 0o777 == 0o600


def test_a_long_log_starts_anew(tmp_path: Path) -> None:
    """A development machine may run for months."""
    daemon = Daemon("it", tmp_path)
    daemon.log.parent.mkdir()
    with daemon.log.open("wb") as log:
        log.truncate(LOG_LIMIT_BYTES + 1)
    daemon.start(python("print('new')"))
    until(lambda: daemon.pid is None)
    assert daemon.log.read_text() == "new\n"
    assert daemon.log.with_suffix(".log.1").is_file()


def test_what_cannot_be_run_is_told(tmp_path: Path) -> None:
    """A missing program is a sentence, not a traceback."""
    with pytest.raises(Unavailable, match="it cannot be run"):
        Daemon("it", tmp_path).start(Command([str(tmp_path / "missing")], {}))
    with pytest.raises(Unavailable, match="it does not run"):
        Daemon("it", tmp_path).pause()
