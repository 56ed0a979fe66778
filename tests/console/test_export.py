"""Files of a replay: what any other tool reads, with a hash that says what is in them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from console.export import JsonLines, ParquetFolder
from console.replay import chosen_ranges
from infra.kafka.ranges import ranges_now
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Invalid
from schemas.models import OffsetRange

NAME = "retrace.interactions.InteractionRecorded"
TABLE = pl.DataFrame(
    {
        "_topic": ["interactions"] * 4,
        "_partition": [0, 0, 0, 1],
        "_offset": [0, 1, 2, 0],
        "_key": ["a", "b", "a", "c"],
        "_id": ["1", "2", "3", "4"],
        "_timestamp": [datetime(2026, 1, 2, tzinfo=UTC)] * 4,
        "_schema_id": [7] * 4,
        **{name: ["same"] * 4 for name in ("_actor", "_tenant", "_correlation_id", "_causation_id")},
        "_time": [datetime(2026, 1, 1, tzinfo=UTC)] * 4,
        "item_id": ["x", "ü", None, "x"],
        "items": [[{"item_id": "x", "score": 1.0}], [], None, []],
    }
)
RANGES = [OffsetRange(topic="interactions", partition=0, first=0, end=3)]


def folder(path: Path, *pieces: pl.DataFrame) -> str:
    export = ParquetFolder(path)
    with export:
        for piece in pieces:
            export.write(NAME, piece)
        export.finish(RANGES, {})
    return export.sha256


def test_a_folder_holds_the_rows_and_says_so(tmp_path: Path) -> None:
    """The manifest names ranges, rows and hash; the hash does not depend on the pieces that were written."""
    whole = folder(tmp_path / "whole", TABLE)
    assert whole == folder(tmp_path / "pieces", TABLE[:1], TABLE[1:])
    assert whole != folder(tmp_path / "fewer", TABLE[:3])
    manifest = json.loads((tmp_path / "whole" / "manifest.json").read_text())
    assert manifest["sha256"] == whole
    assert manifest["types"][NAME]["rows"] == manifest["events"] == 4
    assert manifest["ranges"] == [{"topic": "interactions", "partition": 0, "first": 0, "end": 3}]
    assert pl.read_parquet(tmp_path / "pieces" / f"{NAME}.parquet").equals(TABLE)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """An export must not mix with an older one."""
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(Invalid, match="not an empty folder"):
        ParquetFolder(tmp_path)


def test_lines_are_json(tmp_path: Path) -> None:
    """One object for each event, with its position."""
    export = JsonLines(tmp_path / "out.jsonl")
    with export:
        export.write(NAME, TABLE)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["position"] for line in lines] == [f"interactions/{p}" for p in ("0/0", "0/1", "0/2", "1/0")]
    assert lines[1]["data"] == {"item_id": "ü", "items": []}
    assert (lines[0]["type"], lines[0]["time"]) == (NAME, "2026-01-01T00:00:00Z")


async def test_bounds(settings: Settings) -> None:
    """Offsets choose partitions, times choose offsets, anything else is refused with an example."""
    await open_decoder(settings)
    whole = await ranges_now(settings, ["interactions"])
    assert await chosen_ranges(settings, "interactions", None, None) == whole
    assert await chosen_ranges(settings, "interactions", "2026-01-01", None) == whole
    one = await chosen_ranges(settings, "interactions", "1:0", "1:5")
    assert one == [OffsetRange(topic="interactions", partition=1, first=0, end=5)]
    for bound in ("soon", "9:1"):
        with pytest.raises(Invalid):
            await chosen_ranges(settings, "interactions", bound, None)
