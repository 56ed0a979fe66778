"""What `retrace train --verify` says: identical only of what was made again and lies in the store as it was."""

from pathlib import Path

from console.train import Verification, _stored
from inference.store import ArtifactStore
from infra.settings import Settings

SAME = {"dataset": "d", "rows": 6, "artifact": "a"}


def test_identical_is_said_of_everything_or_not_at_all() -> None:
    """An auditor who reads the word asks no further."""
    assert Verification("r", SAME, SAME).identical
    missing = Verification("r", SAME, SAME, stored="artifact a is not in the store: train again")
    assert not missing.identical
    assert "not right[/]: artifact a is not in the store" in missing.verdict
    changed = Verification("r", SAME, SAME | {"artifact": "b"}, stored="artifact a was replaced")
    assert "NOT identical[/]: artifact; artifact a was replaced" in changed.verdict


def test_programs_read_the_same_verdict() -> None:
    """Without the colours that are meant for people."""
    told = Verification("r", SAME, SAME | {"rows": 5}).as_dict()
    assert (told["identical"], told["verdict"]) == (False, "NOT identical: rows")
    assert Verification("r", SAME, SAME).as_dict()["verdict"] == "identical"


def test_an_artifact_that_is_missing_or_changed_is_named(tmp_path: Path) -> None:
    """What serves is what lies there, not what could be made again."""
    settings = Settings(data_dir=tmp_path)
    sha256 = ArtifactStore(settings).put(b"weights")
    assert _stored(settings, sha256) == ""
    (path,) = (tmp_path / "artifacts").rglob("*.onnx")
    path.write_bytes(b"others")
    assert "damaged or replaced" in _stored(settings, sha256)
    path.unlink()
    assert "is not in the store" in _stored(settings, sha256)
