"""`retrace replay`: a part of the log as files, or on standard output."""

import asyncio
import os
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from console.bounds import chosen_ranges
from console.export.asked import Asked, Format, full_names
from console.export.run import STDOUT, Done, Replay
from console.output import Output, OutputOption, as_json, grid
from console.progress import following
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import NotFound

WORKERS = min(4, os.cpu_count() or 1)
screen = Console(stderr=True, highlight=False)


def replay(
    out: Annotated[Path, typer.Option(help="folder (parquet, duckdb) or file (arrow, jsonl); - for standard output")],
    topic: Annotated[list[str] | None, typer.Option(help="topic to read; may be repeated")] = None,
    format: Annotated[Format, typer.Option(help="what to write")] = Format.parquet,
    first: Annotated[
        str | None,
        typer.Option("--from", help="[TOPIC/]PARTITION:OFFSET,... or a time (ISO 8601); the start when left out"),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", help="[TOPIC/]PARTITION:OFFSET,... or a time, not included; the end when left out"),
    ] = None,
    range: Annotated[list[str] | None, typer.Option(help="TOPIC/PARTITION/FIRST..END; may be repeated")] = None,
    type: Annotated[list[str] | None, typer.Option(help="only this type of event; may be repeated")] = None,
    key: Annotated[list[str] | None, typer.Option(help="only events with this key; may be repeated")] = None,
    workers: Annotated[int, typer.Option(min=1, help="parts of the log that are read at once")] = WORKERS,
    output: OutputOption = "table",
) -> None:
    """Write a part of the log to what pandas, polars, DuckDB and Spark read, with a manifest.

    A run that was interrupted goes on when the same command is given again, and writes what it would have written.
    """
    settings = Settings()
    asked = Asked(
        format=format,
        tenant=settings.tenant,
        topics=tuple(dict.fromkeys(topic or ())),
        first=first,
        end=end,
        ranges=tuple(range or ()),
        types=full_names(type or ()),
        keys=tuple(sorted(set(key or ()))),
    )
    began = time.perf_counter()
    done = asyncio.run(_replay(settings, asked, out, workers))
    _tell(Console() if out != STDOUT else screen, done, time.perf_counter() - began, out, output)
    if missing := [name for name in asked.keys if name not in done.outcome.keys]:
        listed = ", ".join(f"'{name}'" for name in missing)
        raise NotFound(
            f"no event of this replay has the key {listed}: try other bounds, types or spelling",
            code="unknown_key",
        )


async def _replay(settings: Settings, asked: Asked, out: Path, workers: int) -> Done:
    decoder = await open_decoder(settings)
    choose = partial(chosen_ranges, settings, asked.topics, asked.first, asked.end, asked.ranges)
    with following(screen, "replay") as report:
        work = Replay(settings, decoder, asked, choose, workers, report)
        return await (work.to_stdout() if out == STDOUT else work.to(out))


def _tell(to: Console, done: Done, elapsed_s: float, out: Path, output: Output) -> None:
    if output == "json":
        to.out(as_json(_said(done, elapsed_s, out)), highlight=False)
        return
    outcome, read = done.outcome, done.total - done.before
    table = grid("type", "events", numbers=("events",))
    for name, count in sorted(outcome.types.items()):
        table.add_row(name, f"{count:,}")
    to.print(table)
    again = f", {done.before:,} by an earlier run" if done.before else ""
    to.print(
        f"{outcome.events:,} events, {len(outcome.files)} files, {elapsed_s:.2f} s, {read / elapsed_s:,.0f} offsets/s"
        f"{again}; content {outcome.sha256}",
        soft_wrap=True,
        highlight=False,
    )


def _said(done: Done, elapsed_s: float, out: Path) -> dict[str, object]:
    return {
        "out": str(out),
        "events": done.outcome.events,
        "types": done.outcome.types,
        "files": len(done.outcome.files),
        "sha256": done.outcome.sha256,
        "offsets": done.total,
        "offsets_before": done.before,
        "elapsed_s": round(elapsed_s, 3),
    }
