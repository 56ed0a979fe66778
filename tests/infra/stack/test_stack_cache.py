"""The cache of downloads: whole or not there, whoever comes at the same time."""

import hashlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.stack import cache
from infra.stack.elastic import COORDINATES as ELASTIC
from infra.stack.kafka import COORDINATES as KAFKA
from schemas.errors import Unavailable


def test_two_first_starts_download_once(tmp_path: Path) -> None:
    """Two clones that start together share one cache."""
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.1)
        (folder / "file").write_text("whole")

    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: cache.once(tmp_path / "it", make), range(4)))
    assert len(made) == 1
    assert folders == {tmp_path / "it"}
    assert (tmp_path / "it" / "file").read_text() == "whole"


def test_a_failed_download_leaves_nothing_behind(tmp_path: Path) -> None:
    """Half a download that looks whole would fail for ever."""

    def make(folder: Path) -> None:
        (folder / "file").write_text("half")
        raise Unavailable("no network")

    with pytest.raises(Unavailable):
        cache.once(tmp_path / "it", make)
    assert [path.name for path in tmp_path.iterdir()] == [".it.lock"]


def test_a_failed_download_says_why_and_what_to_do() -> None:
    """The cause is in what the tool said, not in its exit code."""
    command = [sys.executable, "-c", "import sys; sys.exit('name not resolved')"]
    with pytest.raises(Unavailable, match=r"check the network.*name not resolved") as fault:
        cache.download(command, needs="jgo")
    assert fault.value.code == "download_failed"


def test_jars_are_compared_by_content(tmp_path: Path) -> None:
    """A pinned version alone does not tell a tampered file."""
    (tmp_path / "b.jar").write_bytes(b"b")
    (tmp_path / "a.jar").write_bytes(b"a")
    (tmp_path / "notes.txt").write_bytes(b"ignored")
    lines = [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}.jar\n" for name in "ab"]
    assert cache.fingerprint(tmp_path) == "".join(lines)


@pytest.mark.parametrize(("name", "coordinates"), [("kafka", KAFKA), ("elastic", ELASTIC)])
def test_locks_name_the_jars_of_their_coordinates(name: str, coordinates: tuple[str, ...]) -> None:
    """Whoever raises a version has to renew the lock."""
    lock = (cache.LOCKS / f"{name}.sha256").read_text()
    for coordinate in coordinates:
        _, artifact, version = coordinate.split(":")
        assert f"  {artifact}-{version}.jar\n" in lock


def test_triton_packages_are_pinned_by_hash() -> None:
    """The environment is installed with --require-hashes."""
    lock = (cache.LOCKS / "triton.txt").read_text()
    for pin in ("nvidia-pytriton==0.7.0", "onnxruntime==1.22.1", "numpy==1."):
        assert pin in lock
    assert lock.count("==") <= lock.count("--hash=sha256:")
    assert "://" not in lock
