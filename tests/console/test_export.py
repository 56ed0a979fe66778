"""What a replay writes: what any other tool reads, the same bytes however it came about."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

import console.export.folder
import console.export.stream
from console.bounds import chosen_ranges
from console.export.asked import Format, full_names
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment
from schemas.errors import Invalid, NotFound, Problem
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import ConsentGiven, ConsentWithdrawn

from . import replayslowly
from .logged import consent, fill, written

NAME = InteractionRecorded.AVRO
PATIENCE_S = 120


@pytest.fixture
async def decoder(settings: Settings) -> Decoder:
    return await open_decoder(settings)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts as small as those of the process that is killed."""
    monkeypatch.setattr(console.export.stream, "SLICE", replayslowly.SLICE)
    monkeypatch.setattr(console.export.folder, "SLICE", replayslowly.SLICE)
    monkeypatch.setattr(console.export.folder, "UNIT", replayslowly.UNIT)


def files(out: Path) -> dict[str, bytes]:
    """Everything that was written, by name."""
    if out.is_dir():
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    names = sorted(path for path in out.parent.iterdir() if out.name in path.name)
    return {path.name.replace(out.name, "out"): path.read_bytes() for path in names}


def manifest(out: Path) -> dict[str, Any]:
    path = out / "manifest.json" if out.is_dir() else out.with_name(f"{out.name}.manifest.json")
    said: dict[str, Any] = json.loads(path.read_bytes())
    return said


@pytest.mark.parametrize("format", list(Format))
@pytest.mark.usefixtures("small_parts")
async def test_any_number_of_workers_writes_the_same(
    settings: Settings, decoder: Decoder, tmp_path: Path, format: Format
) -> None:
    """Who reads or hashes what was written must not have to know how it was made."""
    fill(settings, decoder, 1500)
    one = await written(settings, decoder, tmp_path / "one", format, workers=1)
    many = await written(settings, decoder, tmp_path / "many", format, workers=5)
    assert one.outcome.events == many.outcome.events == 1500
    assert one.outcome.types == {NAME: 1500}
    mine, others = files(tmp_path / "one"), files(tmp_path / "many")
    assert mine.keys() == others.keys()
    changed = {name for name in mine if mine[name] != others[name]}
    assert changed <= {"out.manifest.json"}  # which names its file


@pytest.mark.parametrize("format", list(Format))
@pytest.mark.usefixtures("small_parts")
async def test_a_killed_run_goes_on_where_it_ended(
    settings: Settings, decoder: Decoder, tmp_path: Path, format: Format
) -> None:
    """Kill -9 in the middle, then events are appended, then the same command: the files of an unbroken run."""
    fill(settings, decoder, 1500)
    whole = tmp_path / "unbroken" / "out"
    broken = tmp_path / "broken" / "out"
    broken.parent.mkdir()
    await written(settings, decoder, whole, format)
    await asyncio.to_thread(_killed, settings, format, broken)
    assert not (broken / "manifest.json").exists()
    assert not broken.with_name("out.manifest.json").exists()
    fill(settings, decoder, 200)  # what has come since is not part of the run that began before
    done = await written(settings, decoder, broken, format)
    assert 0 < done.before < done.total == 1500
    assert files(broken) == files(whole)


def _killed(settings: Settings, format: Format, out: Path) -> None:
    journal = out / ".replay.json" if format.is_folder else out.with_name(".out.replay.json")
    command = [sys.executable, replayslowly.__file__, format.value, str(out)]
    with subprocess.Popen(command, env={**child_environment(settings), "PYTHONPATH": "."}) as process:
        try:
            for _ in range(PATIENCE_S * 50):
                if _begun(journal):
                    break
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)


def _begun(journal: Path) -> bool:
    if not journal.exists():
        return False
    done = json.loads(journal.read_bytes())["done"]
    return bool(done.get("slices", 0) > 2 or len(done.get("units", {})) > 1)


async def test_a_folder_says_what_it_holds(settings: Settings, decoder: Decoder, tmp_path: Path) -> None:
    """The manifest names ranges, filters, schemas, counts and hashes; the files hold the rows in log order."""
    fill(settings, decoder, 300)
    done = await written(settings, decoder, tmp_path / "out", Format.parquet, types=(NAME,), keys=("u1", "u2"))
    said = manifest(tmp_path / "out")
    ranges = await ranges_now(settings, ["interactions"])
    assert said["ranges"] == [{"topic": r.topic, "partition": r.partition, "first": 0, "end": r.end} for r in ranges]
    assert said["filters"] == {"types": [NAME], "keys": ["u1", "u2"]}
    assert said["events"] == done.outcome.events == said["types"][NAME] == sum(f["rows"] for f in said["files"])
    assert said["sha256"] == done.outcome.sha256
    assert len(said["schema_ids"]) == 1
    table = pl.read_parquet(tmp_path / "out" / NAME)
    assert set(table["user_id"]) == {"u1", "u2"}
    places = table.select("_partition", "_offset").rows()
    assert places == sorted(places)


async def test_duckdb_opens_the_folder(
    settings: Settings, decoder: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The views that come with the folder work as they are, wherever it lies."""
    fill(settings, decoder, 300)
    consent(settings, decoder, 20)
    await written(settings, decoder, tmp_path / "made", Format.duckdb, topics=("interactions", "profiles"))
    (tmp_path / "made").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    with duckdb.connect() as db:
        db.execute(Path("views.sql").read_text())
        assert db.execute("SELECT count(*), count(DISTINCT _partition) FROM InteractionRecorded").fetchone() == (300, 4)
        assert db.execute("SELECT count(*) FROM events").fetchone() == (316,)
        counted = dict(db.execute("SELECT _type, count(*) FROM events GROUP BY ALL").fetchall())
        assert counted == {NAME: 300, ConsentGiven.AVRO: 8, ConsentWithdrawn.AVRO: 8}
        first = db.execute("SELECT item_id FROM InteractionRecorded WHERE user_id = 'u3' ORDER BY _partition, _offset")
        assert first.fetchone() == ("i3",)


async def test_an_arrow_stream_of_several_types(settings: Settings, decoder: Decoder, tmp_path: Path) -> None:
    """One stream has one schema: each type is a column of records, and rows stand in log order."""
    fill(settings, decoder, 50)
    consent(settings, decoder, 20)
    await written(settings, decoder, tmp_path / "all", Format.arrow, topics=("profiles", "interactions"))
    with pa.OSFile(str(tmp_path / "all")) as file:
        table: Any = pl.from_arrow(pa.ipc.open_stream(file).read_all())
    assert len(table) == 66
    assert [row["_topic"] for row in table.rows(named=True)] == ["interactions"] * 50 + ["profiles"] * 16
    said = table.filter(pl.col("_topic") == "profiles")
    assert said["_type"].to_list() == [ConsentGiven.AVRO if o % 2 else ConsentWithdrawn.AVRO for o in said["_offset"]]
    assert table["InteractionRecorded"][0]["item_id"].startswith("i")
    assert table["ConsentGiven"][0] is None


async def test_lines_are_json(settings: Settings, decoder: Decoder, tmp_path: Path) -> None:
    """One object for each event, with its position; types stand as they came."""
    consent(settings, decoder, 9)
    await written(settings, decoder, tmp_path / "lines", Format.jsonl, topics=("profiles",))
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert [int(line["position"].rpartition("/")[2]) for line in lines] == [0, 1, 2, 3, 5, 6, 7, 8]
    assert lines[1]["data"] == {"user_id": "u1", "purpose": "training"}
    assert (lines[1]["type"], lines[1]["time"]) == (ConsentGiven.AVRO, "2026-01-01T00:00:00Z")


def retrace(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The command, as people give it."""
    command = [sys.executable, "-m", "console", "replay", *arguments]
    environment: Mapping[str, str] = {**child_environment(settings), "COLUMNS": "200"}
    return subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE_S, check=False)


async def test_standard_output_is_a_stream(settings: Settings, decoder: Decoder) -> None:
    """Other programs read it through a pipe: nothing but the stream may stand there."""
    fill(settings, decoder, 120)
    arguments = ("--topic", "interactions", "--format", "arrow", "--out", "-")
    told = await asyncio.to_thread(retrace, settings, *arguments)
    assert told.returncode == 0, told.stderr
    table = pa.ipc.open_stream(told.stdout).read_all()
    assert table.num_rows == 120
    assert b"120" in told.stderr


async def test_the_same_again_is_without_effect(settings: Settings, decoder: Decoder, tmp_path: Path) -> None:
    """A command in a script may be given twice; what it wrote is checked, and never mixed with anything else."""
    fill(settings, decoder, 60)
    out = tmp_path / "out"
    first = await written(settings, decoder, out, Format.parquet)
    before = files(out)
    again = await written(settings, decoder, out, Format.parquet)
    assert again.outcome.sha256 == first.outcome.sha256
    assert files(out) == before
    with pytest.raises(Invalid, match="belongs to another replay"):
        await written(settings, decoder, out, Format.parquet, keys=("u1",))
    damaged = next(out.rglob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(Invalid, match=f"{damaged.name} is not what"):
        await written(settings, decoder, out, Format.parquet)
    damaged.write_bytes(before[damaged.relative_to(out).as_posix()])
    fill(settings, decoder, 1)
    with pytest.raises(Invalid, match="name another place"):
        await written(settings, decoder, out, Format.parquet)


async def test_what_was_there_is_left_alone(settings: Settings, decoder: Decoder, tmp_path: Path) -> None:
    """An export must not mix with anything, nor replace it."""
    fill(settings, decoder, 10)
    (tmp_path / "notes").write_text("mine")
    for format, out in ((Format.parquet, tmp_path), (Format.jsonl, tmp_path / "notes")):
        with pytest.raises(Invalid) as caught:
            await written(settings, decoder, out, format)
        assert caught.value.code == "out_exists"
    assert (tmp_path / "notes").read_text() == "mine"


async def test_a_part_that_was_changed_is_not_continued(
    settings: Settings, decoder: Decoder, tmp_path: Path, small_parts: None
) -> None:
    """What an interrupted run left is continued only while it is what the run left."""
    fill(settings, decoder, 1500)
    out = tmp_path / "out"
    await asyncio.to_thread(_killed, settings, Format.arrow, out)
    part = tmp_path / "out.part"
    part.write_bytes(b"\0" * 64 + part.read_bytes()[64:])
    with pytest.raises(Invalid, match="not as the earlier run left it"):
        await written(settings, decoder, out, Format.arrow)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"topics": ("nothing",)}, "unknown_topic"),
        ({"topics": ()}, "nothing_asked"),
        ({"types": (ConsentGiven.AVRO,)}, "type_elsewhere"),
        ({"first": "soon"}, "bad_bound"),
        ({"first": "9:1"}, "unknown_partition"),
        ({"end": "0:1000000"}, "range_past_end"),
        ({"first": "0:3", "end": "0:2"}, "bad_range"),
        ({"topics": ("interactions", "profiles"), "first": "0:1"}, "topic_left_open"),
        ({"topics": (), "ranges": ("interactions/0/0-3",)}, "bad_range"),
        ({"ranges": ("interactions/0/0..1",)}, "bad_range"),
    ],
)
async def test_what_makes_no_sense_is_told(
    settings: Settings, decoder: Decoder, tmp_path: Path, asked: dict[str, Any], code: str
) -> None:
    """In one sentence, before anything is written."""
    fill(settings, decoder, 20)
    with pytest.raises(Problem) as caught:
        await written(settings, decoder, tmp_path / "out", Format.parquet, **asked)
    assert caught.value.code == code
    assert "\n" not in caught.value.detail
    assert not (tmp_path / "out").exists()


def test_unknown_types_are_told() -> None:
    """By short and by full name; nothing else."""
    assert full_names(["InteractionRecorded", ConsentGiven.AVRO]) == (NAME, ConsentGiven.AVRO)
    with pytest.raises(Invalid, match="retrace schemas"):
        full_names(["Nonsense"])


async def test_the_command_ends_badly_when_something_is_wrong(
    settings: Settings, decoder: Decoder, tmp_path: Path
) -> None:
    """An unknown key or format, a folder on standard output: one sentence, and a status that is not 0."""
    fill(settings, decoder, 20)
    out = str(tmp_path / "out")
    for arguments, said in (
        (("--topic", "interactions", "--key", "nobody", "--out", out), "has the key 'nobody'"),
        (("--topic", "interactions", "--format", "excel", "--out", out), "excel"),
        (("--topic", "interactions", "--out", "-"), "is a folder"),
    ):
        told = await asyncio.to_thread(retrace, settings, *arguments)
        assert told.returncode != 0
        assert said in told.stderr.decode()
        assert "Traceback" not in told.stderr.decode()


async def test_bounds(settings: Settings, decoder: Decoder) -> None:
    """Offsets choose partitions, times choose offsets, ranges are taken as they are."""
    fill(settings, decoder, 200)
    whole = await ranges_now(settings, ["interactions"])
    assert await chosen_ranges(settings, ["interactions"], None, None) == whole
    one = await chosen_ranges(settings, ["interactions"], "1:0", "interactions/1:5")
    assert one == [OffsetRange(topic="interactions", partition=1, first=0, end=5)]
    assert await chosen_ranges(settings, [], None, None, ["interactions/1/0..5"]) == one
    await asyncio.sleep(0.005)
    since = datetime.now(UTC).isoformat()
    fill(settings, decoder, 190)
    late = await chosen_ranges(settings, ["interactions"], since, None)
    assert sum(part.end - part.first for part in late) == 190
    with pytest.raises(NotFound):
        await chosen_ranges(settings, [], None, None, ["interactions/77/0..5"])
