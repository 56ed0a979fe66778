"""Processors as processes of their own, to be killed and paused."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from infra.settings import Settings, child_environment
from infra.stack.service import ROOT


class Worker:
    """One processor.

    Args:
        folder: for its own files and its log.
        port: where it says how it is.
    """

    def __init__(self, settings: Settings, folder: Path, port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = folder.name
        self.port = port
        self._log = folder / "log"
        self._environment = {
            **child_environment(settings),
            "RETRACE_DATA_DIR": str(folder),
            "RETRACE_HEALTH__PORT": str(self.port),
            "PYTHONPATH": str(ROOT),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin, or begin again."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "console", "serve", "processor"],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
