"""What `retrace up` knows of a server, whichever way it is run.

Server
├── Embedded    a process of this machine, from package registries   kafka.py postgres.py elastic.py triton.py
│   └── Service one of our own roles                                 service.py
├── Container   a Docker container                                   containers.py
└── External    runs elsewhere, is only asked how it is
"""

import importlib.util
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from infra.settings import Settings
from infra.stack.ports import HOST, Ports, accepts
from infra.stack.process import Command, Daemon
from schemas.errors import Unavailable

Say = Callable[[str], None]
"""Tells the user what a server is doing now, in two or three words."""

POLL_S = 0.1


class Server(ABC):
    """One server of the stack.

    Attributes:
        name: as people type it.
        after: the names of those it needs: it starts after and stops before them.
        memory_mb: what it takes when it idles after a start, so that too small a machine is told beforehand.
    """

    name: str
    after: tuple[str, ...] = ()
    memory_mb: int = 0

    @property
    @abstractmethod
    def address(self) -> str:
        """Where clients find it."""

    @property
    @abstractmethod
    def started(self) -> bool:
        """Whether we started it and have not stopped it since."""

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether it is there, healthy or not."""

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """Its process here, while it lives; None for what does not run as our process."""

    @abstractmethod
    def check(self) -> None:
        """Ask whether it works.

        Raises:
            Unavailable: it does not; the message says why.
        """

    @abstractmethod
    def endpoints(self) -> dict[str, Any]:
        """Its addresses, nested as `Settings` is."""

    def claim(self) -> None:  # noqa: B027  (nothing to claim is a fine answer)
        """Choose the ports. Called for one server after the other, before any starts."""

    @abstractmethod
    def start(self, say: Say) -> None:
        """Start it unless it runs, and return when it works.

        Raises:
            Unavailable: it cannot be started; the message names the remedy.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop it cleanly."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once, as a crash would."""

    @abstractmethod
    def pause(self) -> None:
        """Freeze it, as a long garbage collection would."""

    @abstractmethod
    def resume(self) -> None:
        """Let a frozen server go on."""


class Embedded(Server):
    """A server that runs as a process of this machine, with its data in `<data_dir>/<name>`."""

    modules: ClassVar[Sequence[str]] = ()
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        data_dir = settings.data_dir.absolute()
        self.folder = data_dir / self.name
        self.ports = Ports(data_dir)
        self.daemon = Daemon(self.name, data_dir)

    @property
    def port(self) -> int:
        """The port clients connect to."""
        return self.ports.of(self.name)

    @property
    @override
    def address(self) -> str:
        return f"{HOST}:{self.port}" if self.port else ""

    @property
    @override
    def started(self) -> bool:
        return self.daemon.started

    @property
    @override
    def running(self) -> bool:
        return self.daemon.pid is not None

    @property
    @override
    def pid(self) -> int | None:
        return self.daemon.pid

    @abstractmethod
    def prepare(self, say: Say) -> Command:
        """Fetch what is missing, lay out the data folder, and answer what to run."""

    def finish(self) -> None:
        """What has to be made through the running server; repeats do no harm."""

    @override
    def start(self, say: Say) -> None:
        if not self.running:
            self._require_modules()
            command = self.prepare(say)
            say("starting")
            self.daemon.start(command)
        self._wait(say)
        self.finish()

    @override
    def stop(self) -> None:
        self.daemon.stop(self.stop_signal, self.settings.stack.stop_timeout_s)

    @override
    def kill(self) -> None:
        self.daemon.kill()

    @override
    def pause(self) -> None:
        self.daemon.pause()

    @override
    def resume(self) -> None:
        self.daemon.resume()

    def fixed(self, name: str) -> tuple[int, str]:
        """The port a `StackSettings` field asks for, and the variable that sets it."""
        return getattr(self.settings.stack, name), f"RETRACE_STACK__{name.upper()}"

    def make(self, *parts: str) -> Path:
        """A folder below this server's own."""
        folder = self.folder.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _require_modules(self) -> None:
        missing = [name for name in self.modules if importlib.util.find_spec(name) is None]
        if missing:
            raise Unavailable(
                f"{self.name} needs the Python package {missing[0]}; install the servers with `uv sync --extra stack`.",
                code="package_missing",
            )

    def _wait(self, say: Say) -> None:
        """Until it works, or died, or took too long."""
        until = time.monotonic() + self.settings.stack.start_timeout_s
        while (why := self._fault()) is not None:
            say("waiting until it answers")
            if not self.running:
                raise Unavailable(
                    f"{self.name} ended while it started; the cause should be in the end of its log, and all of it "
                    f"comes with `retrace logs {self.name}`:\n{self.daemon.last_words()}",
                    code="died_at_start",
                )
            if time.monotonic() > until:
                raise Unavailable(
                    f"{self.name} does not work after {self.settings.stack.start_timeout_s:.0f} s ({why}); see "
                    f"`retrace logs {self.name}`, or allow more with RETRACE_STACK__START_TIMEOUT_S.",
                    code="start_timeout",
                )
            time.sleep(POLL_S)

    def _fault(self) -> str | None:
        """Why it does not work yet; None when it does."""
        if not accepts(self.port):
            return f"nobody listens on port {self.port}"
        try:
            self.check()
        except Unavailable as error:
            return error.detail
        return None


class External(Server):
    """A server that somebody else runs; we only ask how it is."""

    def __init__(self, name: str, address: str, check: Callable[[], None]) -> None:
        self.name = name
        self._address = address
        self._check = check

    @property
    @override
    def address(self) -> str:
        return self._address

    @property
    @override
    def started(self) -> bool:
        return True

    @property
    @override
    def running(self) -> bool:
        return True

    @property
    @override
    def pid(self) -> int | None:
        return None

    @override
    def check(self) -> None:
        self._check()

    @override
    def endpoints(self) -> dict[str, Any]:
        return {}

    @override
    def start(self, say: Say) -> None:
        say("asking")
        self.check()

    @override
    def stop(self) -> None:
        """Not ours to stop."""

    @override
    def kill(self) -> None:
        self._refuse()

    @override
    def pause(self) -> None:
        self._refuse()

    @override
    def resume(self) -> None:
        self._refuse()

    def _refuse(self) -> None:
        raise Unavailable(f"{self.name} runs elsewhere (RETRACE_STACK__ENGINE=external); it is not ours to touch.")
