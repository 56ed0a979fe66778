"""What DuckDB needs to open a folder of Parquet files: a view for each type, and one over all."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from console.export.journal import write_whole
from console.export.rows import titles
from infra.kafka.columns import META

VIEWS, README = "views.sql", "README.md"

HEAD = """-- Views over this folder. Open it with DuckDB in the folder itself:
--     duckdb -init views.sql
-- or from anywhere else with
--     SET file_search_path = '<this folder>';
--     .read <this folder>/views.sql
"""


def add_views(folder: Path, types: Sequence[str]) -> None:
    """Write `views.sql` and `README.md` for these types."""
    write_whole(folder / VIEWS, views(types).encode())
    write_whole(folder / README, readme(types).encode())


def views(types: Sequence[str]) -> str:
    """SQL that makes the views; paths are relative to the folder, so it can be moved."""
    return HEAD + "".join(f"\n{statement}\n" for statement in _statements(types))


def _statements(types: Sequence[str]) -> Iterable[str]:
    for name, title in titles(types).items():
        yield _view(f'"{title}"', "* EXCLUDE (_type)", _read(f"_type={name}/**/*.parquet"))
    if types:
        around = ", ".join(("_type", *META))
        yield _view("events", around, _read("**/*.parquet", ", union_by_name = true"))


def _view(name: str, columns: str, source: str) -> str:
    return f"CREATE OR REPLACE VIEW {name} AS\nSELECT {columns}\nFROM {source};"


def _read(path: str, more: str = "") -> str:
    kinds = "{'_type': VARCHAR, '_topic': VARCHAR, '_partition': INTEGER}"
    return f"read_parquet('{path}', hive_partitioning = true, hive_types = {kinds}{more})"


def readme(types: Sequence[str]) -> str:
    """What the folder holds, for whoever finds it."""
    rows = "".join(f"| `{title}` | `{name}` |\n" for name, title in titles(types).items())
    return f"""# A part of the log

Parquet, partitioned as Hive does: `_type=…/_topic=…/_partition=…/<first offset>.parquet`. `manifest.json` says which
part of the log this is, what was left out, and the SHA-256 of every file.

    duckdb -init {VIEWS}

| view | type of event |
|---|---|
{rows}| `events` | all of them, without their own fields |

Columns that begin with `_` stand around an event: `_topic`, `_partition` and `_offset` are its position, which is its
identity and its place in the order; `_time` is when it was written, `_timestamp` when Kafka got it (both UTC).
"""
