"""A copy of the project for those who follow a how-to in it."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("commands", "console", "inference", "infra", "projections", "schemas", "streams", "pyproject.toml")

Copied = Callable[[Iterable[tuple[str, str]]], Path]


@pytest.fixture
def copied(tmp_path: Path) -> Iterator[Copied]:
    """Makes a copy, tests included, with these further files in it, by name; answers its folder."""
    copy = tmp_path / "project"

    def make(files: Iterable[tuple[str, str]]) -> Path:
        for part in (*PARTS, "tests"):
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, copy / part)
        for name, content in files:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_text(content)
        return copy

    yield make
    shutil.rmtree(copy, ignore_errors=True)
