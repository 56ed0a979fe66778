"""Our own services as processes, in the corner of one test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.settings import Settings
from infra.stack.stack import SERVICES, Stack, merged


@pytest.fixture
def services(settings: Settings, tmp_path: Path) -> Iterator[Stack]:
    """Every service of ours, on the servers of the run."""
    corner = {"data_dir": tmp_path / "services", "stack": {"engine": "external", "start_timeout_s": 300}}
    ours = Stack(Settings(**merged(settings.model_dump(exclude_unset=True), corner)))
    try:
        ours.up(SERVICES)
        yield ours
    finally:
        ours.down()
