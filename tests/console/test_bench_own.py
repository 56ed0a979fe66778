"""The benchmark removes a folder at its end: it must be the right one."""

from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from console.bench.command import choose, told
from console.bench.own import MARK, own_stack
from schemas.errors import Invalid, Rejected

SCREEN = Console(quiet=True)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """`--data-dir` with a slip of the finger must not cost anybody their data."""
    (tmp_path / "precious").write_text("x")
    with pytest.raises(Invalid, match="name another folder"), own_stack(tmp_path, SCREEN):
        pass
    assert (tmp_path / "precious").read_text() == "x"


def test_the_folder_goes_away_even_when_the_benchmark_fails(tmp_path: Path) -> None:
    """No servers and no gigabytes stay behind."""
    folder = tmp_path / "bench"
    with suppress(ZeroDivisionError), own_stack(folder, SCREEN):
        (folder / "left").mkdir()
        _ = 1 / 0
    assert not folder.exists()


def test_what_a_killed_benchmark_left_is_taken_over(tmp_path: Path) -> None:
    """A kill -9 leaves the folder; the next benchmark begins with an empty one."""
    (tmp_path / MARK).touch()
    (tmp_path / "left").mkdir()
    with own_stack(tmp_path, SCREEN):
        assert [path.name for path in tmp_path.iterdir() if path.name == "left"] == []


def test_two_benchmarks_do_not_share_a_folder(tmp_path: Path) -> None:
    """The second would remove the first one's servers."""
    folder = tmp_path / "b"
    with own_stack(folder, SCREEN), pytest.raises(Rejected, match="Another benchmark"), own_stack(folder, SCREEN):
        pass


def test_servers_of_others_are_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark on production would fill its topics and restart it."""
    monkeypatch.setenv("RETRACE_STACK__ENGINE", "external")
    with pytest.raises(Invalid, match="external"), own_stack(tmp_path / "b", SCREEN):
        pass


def test_sections_come_in_their_own_order() -> None:
    """Start times are measured last, whatever the order of the arguments."""
    assert [section.name for section in choose(None)] == [
        "commands",
        "facts",
        "ingest",
        "processor",
        "projection",
        "queries",
        "audit",
        "explain",
        "rebuild",
        "replay",
        "recommend",
        "search",
        "stack",
    ]
    assert [section.name for section in choose(["stack", "ingest"])] == ["ingest", "stack"]


def test_an_unknown_section_is_refused_with_the_known_ones() -> None:
    """Found out before servers are started."""
    with pytest.raises(Invalid, match="choose among commands, facts, ingest"):
        choose(["speed"])


def test_the_first_of_several_faults_is_told() -> None:
    """A task group says that there were faults, not which."""
    assert told(ExceptionGroup("many", [ExceptionGroup("inner", [ValueError("this one")])])) == "ValueError: this one"
