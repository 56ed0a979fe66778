"""`retrace replay`: a part of the log as Parquet or JSON lines."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from console.export import Export, JsonLines, ParquetFolder
from infra.kafka.ranges import ranges_between
from infra.kafka.records import Decoder
from infra.kafka.replay import Progress, Tables
from infra.kafka.replay import replay as read
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.contracts import contracts
from schemas.errors import Invalid
from schemas.models import OffsetRange

console = Console(stderr=True, highlight=False)


def replay(
    topic: Annotated[str, typer.Option(help="topic to read")],
    out: Annotated[Path, typer.Option(help="folder for Parquet, file for JSON lines; - for standard output")],
    format: Annotated[Literal["parquet", "jsonl"], typer.Option(help="what to write")] = "parquet",
    first: Annotated[
        str | None, typer.Option("--from", help="PARTITION:OFFSET,... or a time (ISO 8601); the start when left out")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="PARTITION:OFFSET,... or a time, not included; the end when left out")
    ] = None,
    type: Annotated[list[str] | None, typer.Option(help="only this type of event; may be repeated")] = None,
    key: Annotated[list[str] | None, typer.Option(help="only events with this key; may be repeated")] = None,
) -> None:
    """Write a part of the log to files that pandas, polars, DuckDB and Spark read, with a manifest."""
    names = [_full_name(name) for name in type] if type else None
    export: Export = ParquetFolder(out) if format == "parquet" else JsonLines(out)
    asyncio.run(_replay(Settings(), topic, (first, end), names, key, export))


async def _replay(
    settings: Settings,
    topic: str,
    bounds: tuple[str | None, str | None],
    types: Sequence[str] | None,
    keys: Sequence[str] | None,
    export: Export,
) -> None:
    decoder: Decoder = await open_decoder(settings)
    ranges = await chosen_ranges(settings, topic, *bounds)
    started = time.perf_counter()
    with export, _bar(sum(part.end - part.first for part in ranges)) as report:
        writing: asyncio.Task[None] | None = None  # one piece is written while the next is read and decoded
        async for tables in read(settings, decoder, ranges, types=types, keys=keys, report=report):
            if writing is not None:
                await writing
            writing = asyncio.create_task(asyncio.to_thread(_write, export, tables))
        if writing is not None:
            await writing
        export.finish(ranges, {"types": list(types or ()), "keys": list(keys or ())})
    seconds = time.perf_counter() - started
    console.print(
        f"{export.events:,} events in {seconds:.2f} s, {export.events / seconds:,.0f}/s, "
        f"{export.files} files, content {export.sha256}"
    )


def _write(export: Export, tables: Tables) -> None:
    for name, table in tables.items():
        export.write(name, table)


async def chosen_ranges(settings: Settings, topic: str, first: str | None, end: str | None) -> list[OffsetRange]:
    """What `--from` and `--to` mean, for each partition of the topic.

    Raises:
        Invalid: a bound is neither a list of offsets nor a time.
        NotFound: there is no such topic.
        Unavailable: the brokers do not answer.
    """
    since, firsts = _bound(first)
    until, ends = _bound(end)
    ranges = await ranges_between(settings, [topic], since, until)
    named = set(firsts) | set(ends)
    if unknown := named - {part.partition for part in ranges}:
        raise Invalid(f"{topic} has no partition {', '.join(map(str, sorted(unknown)))}", code="unknown_partition")
    return [
        OffsetRange(
            topic=topic,
            partition=part.partition,
            first=firsts.get(part.partition, part.first),
            end=ends.get(part.partition, part.end),
        )
        for part in ranges
        if not named or part.partition in named
    ]


def _bound(text: str | None) -> tuple[datetime | None, dict[int, int]]:
    """A bound as a time, or as offsets by partition."""
    if text is None:
        return None, {}
    pairs = [part.partition(":") for part in text.split(",")]
    if all(number.isdecimal() and offset.isdecimal() for number, _, offset in pairs):
        return None, {int(number): int(offset) for number, _, offset in pairs}
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as fault:
        raise Invalid(
            f"'{text}' is neither PARTITION:OFFSET, such as 0:100,1:250, nor a time, such as 2026-01-31T12:00:00",
            code="bad_bound",
        ) from fault
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC), {}


def _full_name(name: str) -> str:
    """A type by its short or its full name.

    Raises:
        Invalid: there is none of that name.
    """
    for contract in contracts().values():
        if name in (contract.name, contract.full_name):
            return contract.full_name
    raise Invalid(f"there is no event of type {name}: `retrace schemas` lists them", code="unknown_type")


@contextmanager
def _bar(total: int) -> Iterator[Callable[[Progress], None]]:
    columns = (TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("replay", total=total)
        yield lambda progress: bar.update(task, completed=progress.done)
