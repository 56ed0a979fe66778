"""The how-to "Add a projection", followed word by word in a copy of the project."""

import re
import subprocess
import sys
from pathlib import Path

from infra.settings import Settings, child_environment

from .conftest import ROOT, Copied

HOW_TO = (ROOT / "docs" / "how-to" / "add-a-projection.md").read_text()
FILES = re.findall(r"^```python (\S+)\n(.*?)^```$", HOW_TO, re.MULTILINE | re.DOTALL)


def test_two_files_make_a_projection(copied: Copied, settings: Settings) -> None:
    """Its own test passes, and the check that every view undergoes finds it by itself and passes too."""
    assert [Path(name).name for name, _ in FILES] == ["additions.py", "test_additions.py"]
    project = copied(FILES)
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
