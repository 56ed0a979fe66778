"""All servers and services of one data folder: start, stop, watch, and hurt on purpose."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Literal

import psutil

from infra.access.admin import admin_endpoints
from infra.audit import keys as notary_keys
from infra.personal.master import prepare
from infra.settings import ADMIN_KEY_FILE, ENDPOINTS_FILE, Settings
from infra.stack import checks
from infra.stack.cache import locked
from infra.stack.containers import containers
from infra.stack.elastic import Elastic
from infra.stack.kafka import Kafka
from infra.stack.postgres import Postgres
from infra.stack.server import External, Server
from infra.stack.service import ROLES, Service
from infra.stack.triton import Triton
from schemas.errors import Invalid, Unavailable

Progress = Callable[[str, str], None]
"""Called with a server's name and what it is doing; from several threads. The last word is "ready"."""

READY = "ready"
SERVERS = ("kafka", "postgres", "elastic", "triton", "registry")
SERVICES = tuple(role.name for role in ROLES if role.name not in SERVERS)

State = Literal["up", "unhealthy", "paused", "died", "stopped"]


@dataclass(frozen=True)
class Status:
    """How one server is.

    Attributes:
        state: `died` was started and is gone, `stopped` was not started, `paused` is frozen by a signal.
        memory_bytes: resident, its share of what it shares with its helpers.
        why: what is wrong, in a sentence; empty when it is up.
    """

    name: str
    state: State
    address: str
    pid: int | None = None
    memory_bytes: int = 0
    uptime_s: float = 0.0
    why: str = ""


class Stack:
    """The servers and services of `settings.data_dir`."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings
        self._interrupted = Event()
        self.data_dir = settings.data_dir.absolute()

    @property
    def settings(self) -> Settings:
        """The settings with the addresses that the servers have now."""
        given = self._given.model_dump(exclude_unset=True)
        return Settings(**merged(given, self._endpoints()))

    def server(self, name: str) -> Server:
        """One server or service.

        Raises:
            Invalid: there is none of that name.
        """
        return self._select([name])[0]

    def up(
        self, names: Sequence[str] | None = None, *, servers_only: bool = False, progress: Progress | None = None
    ) -> None:
        """Start what is not running, and return when all of it works.

        Args:
            names: which ones; default all.
            servers_only: leave out our own services but the schema registry.
            progress: told of every step.

        Raises:
            Unavailable: one could not be started; the message names the remedy. The others are left running.
        """
        wanted = list(names or (SERVERS if servers_only else (*SERVERS, *SERVICES)))
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self.data_dir / "stack.lock"):
            missing = [one for one in self._select(wanted) if not one.running]
            require_memory(missing)
            self._note(admin_endpoints(self.settings.access, self.data_dir))
            prepare(self.settings)
            notary_keys.prepare(self.settings)
            for one in missing:
                one.claim()
                if isinstance(one, Service):  # our services name each other, and start side by side
                    self._note(one.endpoints())
            self._start(self._select(wanted), progress or _silent)

    def down(self, names: Sequence[str] | None = None, *, progress: Progress | None = None) -> None:
        """Stop them cleanly: our own services first, then the servers they use."""
        say = progress or _silent
        with locked(self.data_dir / "stack.lock"):
            chosen = [one for one in self._select(names) if one.started and not isinstance(one, External)]
            needed_by = {one.name: [other.name for other in chosen if one.name in other.after] for one in chosen}
            _in_order({one.name: partial(_stop, one, say) for one in reversed(chosen)}, needed_by)

    def restart(self, name: str) -> None:
        """Stop one and start it on the same data."""
        self.down([name])
        self.up([name])

    def kill(self, name: str) -> None:
        """End one at once, as a crash would; `up` starts it again."""
        self.server(name).kill()

    def pause(self, name: str) -> None:
        """Freeze one, until `resume`."""
        self.server(name).pause()

    def resume(self, name: str) -> None:
        """Let a frozen one go on."""
        self.server(name).resume()

    def status(self, names: Sequence[str] | None = None) -> list[Status]:
        """How each one is."""
        chosen = self._select(names)
        return _in_order({one.name: partial(status_of, one) for one in chosen}, {one.name: () for one in chosen})

    @property
    def admin_key_file(self) -> Path:
        """Where the installation's own key is, unless it was given or taken away."""
        return self.data_dir / ADMIN_KEY_FILE

    def log_of(self, name: str) -> Path:
        """The file that a server or service logs to."""
        self.server(name)
        return self.data_dir / "logs" / f"{name}.log"

    def _start(self, servers: Sequence[Server], progress: Progress) -> None:
        self._interrupted.clear()
        tasks = {one.name: partial(self._start_one, one.name, progress) for one in servers}
        try:
            _in_order(tasks, {one.name: one.after for one in servers})
        except KeyboardInterrupt:
            self._interrupted.set()
            raise

    def _start_one(self, name: str, progress: Progress) -> None:
        """Start one with the addresses that those before it have by now."""
        one = self.server(name)

        def say(what: str) -> None:
            if self._interrupted.is_set():
                raise Unavailable(f"The start of {one.name} was interrupted; `retrace up` goes on with it.")
            progress(one.name, what)

        try:
            one.start(say)
        except Exception:
            progress(one.name, "failed")
            raise
        self._note(one.endpoints())
        progress(one.name, READY)

    def _select(self, names: Iterable[str] | None) -> list[Server]:
        every = {one.name: one for one in self._every()}
        unknown = set(names or ()) - set(every)
        if unknown:
            raise Invalid(f"There is no {unknown.pop()}; choose among {', '.join(every)}.", code="unknown_server")
        return [every[name] for name in names] if names is not None else list(every.values())

    def _every(self) -> list[Server]:
        settings = self.settings
        ours = [Service(settings, role) for role in ROLES]
        match settings.stack.engine:
            case "external":
                return [*external(settings), *[one for one in ours if one.name not in SERVERS]]
            case "containers":
                return [*containers(settings), *ours]
            case "embedded":
                return [Kafka(settings), Postgres(settings), Elastic(settings), Triton(settings), *ours]

    def _endpoints(self) -> dict[str, Any]:
        with suppress(FileNotFoundError):
            values: dict[str, Any] = json.loads((self.data_dir / ENDPOINTS_FILE).read_text())
            return values
        return {}

    def _note(self, addresses: dict[str, Any]) -> None:
        """Add addresses to `endpoints.json`, which carries a password: for the owner's eyes, and never half-written."""
        with locked(self.data_dir / "endpoints.lock"):
            aside = self.data_dir / f".{ENDPOINTS_FILE}"
            aside.touch(mode=0o600)
            aside.write_text(json.dumps(merged(self._endpoints(), addresses), indent=2))
            aside.replace(self.data_dir / ENDPOINTS_FILE)


def external(settings: Settings) -> list[Server]:
    """The servers as somebody else runs them, at the addresses of the settings."""
    return [
        External("kafka", settings.kafka.bootstrap, partial(checks.kafka, settings.kafka)),
        External("postgres", "by its dsn", partial(checks.postgres, settings.postgres)),
        External("elastic", settings.elastic.url, partial(checks.elastic, settings.elastic)),
        External("triton", ",".join(settings.triton.grpc), partial(checks.triton, settings.triton.grpc)),
        External("registry", settings.registry.url, partial(checks.registry, settings.registry)),
    ]


def status_of(one: Server) -> Status:
    """Look at one server and ask it."""
    pid = one.pid
    if not one.started:
        return Status(one.name, "stopped", one.address, why=f"It was not started; `retrace up {one.name}` does.")
    if not one.running:
        why = f"It ended by itself; see `retrace logs {one.name}`, and `retrace up` starts it again."
        return Status(one.name, "died", one.address, why=why)
    memory, uptime, frozen = usage(pid) if pid else (0, 0.0, False)
    if frozen:
        return Status(one.name, "paused", one.address, pid, memory, uptime, "It is frozen by a signal (SIGSTOP).")
    try:
        one.check()
    except Unavailable as error:
        return Status(one.name, "unhealthy", one.address, pid, memory, uptime, error.detail)
    return Status(one.name, "up", one.address, pid, memory, uptime)


def usage(pid: int) -> tuple[int, float, bool]:
    """Memory in bytes of a process and its helpers, its age in seconds, and whether it is frozen."""
    try:
        leader = psutil.Process(pid)
        family = [leader, *leader.children(recursive=True)]
        frozen = leader.status() == psutil.STATUS_STOPPED
        return sum(map(_memory, family)), time.time() - leader.create_time(), frozen
    except psutil.NoSuchProcess:
        return 0, 0.0, False


def _memory(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", full.uss))
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def require_memory(servers: Sequence[Server]) -> None:
    """Say beforehand when the machine is too small.

    Raises:
        Unavailable: what is to be started needs more than is free.
    """
    needed, free = sum(one.memory_mb for one in servers), psutil.virtual_memory().available // 2**20
    if needed > free:
        raise Unavailable(
            f"Starting {', '.join(one.name for one in servers)} takes about {needed} MB and {free} MB are free; end "
            "other programs, or lower RETRACE_STACK__KAFKA_HEAP_MB and RETRACE_STACK__ELASTIC_HEAP_MB (512 will do).",
            code="memory_short",
        )


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Both, nested; where they differ the other counts."""
    both = dict(one)
    for key, value in other.items():
        known = both.get(key)
        both[key] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return both


def _stop(one: Server, say: Progress) -> None:
    say(one.name, "stopping")
    one.stop()
    say(one.name, "stopped")


def _in_order(tasks: Mapping[str, Callable[[], Any]], after: Mapping[str, Iterable[str]]) -> list[Any]:
    """Run all at once, each as soon as those it comes after are done; then raise the first fault.

    Args:
        tasks: by name; who comes after another is listed after it.
        after: the names that each one waits for; of those that are not among the tasks nothing is awaited.
    """
    pool = ThreadPoolExecutor(max_workers=max(1, len(tasks)))
    futures: dict[str, Future[Any]] = {}
    try:
        for name, task in tasks.items():
            futures[name] = pool.submit(_after, [futures[other] for other in after[name] if other in futures], task)
        wait(futures.values())
        return [future.result() for future in futures.values()]
    finally:
        pool.shutdown(wait=False)


def _after(others: Sequence[Future[Any]], task: Callable[[], Any]) -> Any:
    for other in others:
        other.result()
    return task()


def _silent(_name: str, _what: str) -> None:
    """Nobody is watching."""
