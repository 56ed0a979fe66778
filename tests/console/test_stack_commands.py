"""`retrace status` and `retrace logs`, as a person or a script uses them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.__main__ import app_for
from console.stack import is_down, tail
from infra.stack.stack import SERVERS, Stack, Status

run = CliRunner().invoke


@pytest.fixture
def _shared(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands read the settings of the shared servers."""
    monkeypatch.setenv("RETRACE_DATA_DIR", str(stack.data_dir))


@pytest.mark.usefixtures("_shared")
def test_status_is_quiet_when_all_servers_are_up() -> None:
    """Scripts wait for exit code 0; on a busy machine a server may be too slow for it once."""
    attempts = 10
    while (result := run(app_for(["status"]), ["status", *SERVERS])).exit_code and attempts:
        attempts -= 1
    assert result.exit_code == 0, result.output
    assert all(name in result.output for name in SERVERS)


@pytest.mark.alone
@pytest.mark.usefixtures("_shared")
def test_status_tells_what_is_down_and_why(stack: Stack) -> None:
    """The reader should know the next command."""
    stack.pause("triton")
    try:
        result = run(app_for(["status"]), ["status"])
    finally:
        stack.resume("triton")
    assert result.exit_code == 1
    assert "triton: It is frozen by a signal" in result.output


@pytest.mark.usefixtures("_shared")
def test_logs_shows_as_many_lines_as_asked() -> None:
    """Each line says whose it is."""
    result = run(app_for(["logs"]), ["logs", "kafka", "-n", "3"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("kafka ") for line in lines)


def test_nothing_started_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh folder is not healthy."""
    monkeypatch.setenv("RETRACE_DATA_DIR", str(tmp_path))
    assert run(app_for(["status"]), ["status"]).exit_code == 1


@pytest.mark.parametrize(
    ("name", "state", "down"),
    [
        ("kafka", "stopped", True),
        ("commands", "stopped", False),
        ("commands", "died", True),
        ("kafka", "unhealthy", True),
        ("kafka", "up", False),
    ],
)
def test_services_may_be_left_out_but_not_die(name: str, state: str, down: bool) -> None:
    """`retrace up --servers-only` is a healthy state."""
    assert is_down(Status(name, state, "")) is down  # type: ignore[arg-type]


def test_the_tail_of_no_file_is_empty(tmp_path: Path) -> None:
    """A server that never started has no log."""
    assert tail(tmp_path / "missing.log", 5) == []
    (tmp_path / "it.log").write_text("a\nb\nc\n")
    assert tail(tmp_path / "it.log", 2) == ["b", "c"]
