"""The how-to "Add a projection", followed word by word in a copy of the project."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.settings import Settings, child_environment

ROOT = Path(__file__).parents[2]
HOW_TO = (ROOT / "docs" / "how-to" / "add-a-projection.md").read_text()
FILES = re.findall(r"^```python (\S+)\n(.*?)^```$", HOW_TO, re.MULTILINE | re.DOTALL)
PARTS = ("commands", "console", "inference", "infra", "projections", "schemas", "streams", "tests", "pyproject.toml")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A copy of the project with the files of the how-to in it."""
    copy = tmp_path / "project"
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, copy / part)
    for name, content in FILES:
        (copy / name).write_text(content)
    yield copy
    shutil.rmtree(copy)


def test_two_files_make_a_projection(project: Path, settings: Settings) -> None:
    """Its own test passes, and the check that every view undergoes finds it by itself and passes too."""
    assert [Path(name).name for name, _ in FILES] == ["additions.py", "test_additions.py"]
    environment = child_environment(settings) | {"RETRACE_TEST_STACK": str(settings.data_dir.absolute())}
    tests = ("tests/projections/test_additions.py", "tests/projections/test_batching.py", "-k", "additions")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=project,
        env=environment | {"PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
