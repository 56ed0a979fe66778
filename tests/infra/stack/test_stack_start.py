"""Starting: what goes wrong is one sentence with its remedy."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.settings import Settings, StackSettings, child_environment
from infra.stack.process import Command
from infra.stack.server import Embedded, External, Say
from infra.stack.service import ROLES, Service
from infra.stack.stack import SERVERS, SERVICES, Stack, merged, require_memory, status_of
from schemas.errors import Invalid, Unavailable

TREES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
).filter(lambda tree: isinstance(tree, dict))


class Scripted(Embedded):
    """A server that is a line of Python."""

    name = "scripted"
    code: ClassVar[str] = "import time; time.sleep(600)"

    def claim(self) -> None:
        self.ports.choose(self.name)

    def prepare(self, say: Say) -> Command:
        return Command([sys.executable, "-c", self.code], dict(os.environ))

    def check(self) -> None:
        """It always works."""

    def endpoints(self) -> dict[str, Any]:
        return {}


class Dying(Scripted):
    code = "import sys; sys.exit('the disk is full')"


class Needy(Scripted):
    modules: ClassVar[Sequence[str]] = ("no_such_package",)


def started(kind: type[Scripted], folder: Path, timeout_s: float = 60) -> None:
    server = kind(Settings(data_dir=folder, stack=StackSettings(start_timeout_s=timeout_s)))
    server.claim()
    try:
        server.start(lambda _: None)
    finally:
        server.stop()


def test_a_server_that_dies_shows_its_last_words(tmp_path: Path) -> None:
    """The cause is in its log, and nobody should have to look for it."""
    with pytest.raises(Unavailable, match=r"retrace logs scripted(.|\n)*the disk is full") as fault:
        started(Dying, tmp_path)
    assert fault.value.code == "died_at_start"


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """`retrace up` ends, and says what to raise."""
    with pytest.raises(Unavailable, match=r"RETRACE_STACK__START_TIMEOUT_S") as fault:
        started(Scripted, tmp_path, timeout_s=0.3)
    assert fault.value.code == "start_timeout"


def test_a_missing_package_names_the_command_that_installs_it(tmp_path: Path) -> None:
    """The servers are an extra that a plain installation leaves out."""
    with pytest.raises(Unavailable, match=r"no_such_package.*uv sync --extra stack"):
        started(Needy, tmp_path)


def test_too_small_a_machine_is_told_beforehand() -> None:
    """Else the kernel ends some process in the middle of the work."""
    huge = External("huge", "", lambda: None)
    huge.memory_mb = 10**9
    with pytest.raises(Unavailable, match=r"RETRACE_STACK__KAFKA_HEAP_MB"):
        require_memory([huge])


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    """A typo is answered with the choice."""
    with pytest.raises(Invalid, match=r"There is no kafak; choose among kafka, postgres"):
        Stack(Settings(data_dir=tmp_path)).up(["kafak"])


def test_what_was_never_started_is_not_called_dead(tmp_path: Path) -> None:
    """`retrace up --servers-only` leaves the services out on purpose."""
    states = {one.name: one.state for one in Stack(Settings(data_dir=tmp_path)).status()}
    assert states == dict.fromkeys([*SERVERS, *SERVICES], "stopped")


def test_an_external_server_that_is_away_says_why() -> None:
    """With managed servers `retrace status` is only a look."""

    def check() -> None:
        raise Unavailable("nobody answers")

    status = status_of(External("kafka", "far:9092", check))
    assert (status.state, status.why) == ("unhealthy", "nobody answers")


def test_an_external_server_is_never_hurt() -> None:
    """A fault test must not reach a managed cluster."""
    server = External("kafka", "far:9092", lambda: None)
    for hurt in (server.kill, server.pause, server.resume):
        with pytest.raises(Unavailable, match="not ours"):
            hurt()


def test_addresses_are_for_the_owner_alone(stack: Stack) -> None:
    """They carry the database's password."""
    file = stack.data_dir / "endpoints.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(file.read_text())) >= {"kafka", "postgres", "elastic", "triton", "registry"}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_service_learns_its_settings_by_the_environment(role: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """A child builds the same settings as its parent, and listens where the stack will ask it."""
    parent = Settings(data_dir=tmp_path, topic_prefix="mine.", triton={"grpc": ["one:1", "two:2"]})
    service = Service(parent, role)
    service.claim()
    for name, value in service.prepare(lambda _: None).environment.items():
        monkeypatch.setenv(name, value)
    child = Settings()
    assert child.topic_prefix == "mine."
    assert child.triton.grpc == ["one:1", "two:2"]
    assert child.data_dir == tmp_path
    listens = child.registry if role.name == "registry" else getattr(child, role.name if role.api else "health")
    assert (listens.host, listens.port) == ("127.0.0.1", service.port)


def test_secrets_reach_the_child() -> None:
    """A masked password would be a wrong one."""
    settings = Settings(postgres={"dsn": "postgresql://me:secret@db/mine"})
    assert child_environment(settings)["RETRACE_POSTGRES__DSN"] == "postgresql://me:secret@db/mine"


@given(one=TREES, other=TREES)
def test_merging_keeps_what_the_other_does_not_say(one: Any, other: Any) -> None:
    """Each server adds its addresses to those of the others."""
    both = merged(one, other)
    assert merged(both, other) == both
    assert set(both) == set(one) | set(other)
    assert merged(one, {}) == one
    assert merged({}, other) == other
