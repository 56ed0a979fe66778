"""The log again, from offset 0, as Arrow tables in memory and as Parquet."""

import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from console.bench import synthetic
from console.bench.bench import Bench, Measure, Section
from console.bench.figure import OURS, Figure, Goal, Sample, Samples, at_least, peers_of, runs_of
from console.bench.log import TOPIC, filled
from console.bench.memory import Growth
from console.bench.peers import plain
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import replay
from infra.settings import Settings
from schemas.errors import Problem

NAME = "replay"
PLAIN, LIBRARY = "plain aiokafka", "eventsourcing"


async def run(bench: Bench) -> list[Figure]:
    """Let everybody read the same events again: into memory, then to a file."""
    settings = bench.corner("log")
    decoder = await filled(settings, bench.sizes.log)
    arrow = await bench.alternate(NAME, _participants(bench, settings, decoder, None), warm_up=True)
    with tempfile.TemporaryDirectory(prefix="retrace-bench-") as folder:
        file = Path(folder) / "events.parquet"
        parquet = await bench.alternate(NAME, _participants(bench, settings, decoder, file))
    return [
        _speed("log to Arrow", arrow, at_least(500_000)),
        _of("log to Arrow, CPU", "µs/event", arrow, "cpu µs"),
        _of("log to Arrow, memory", "MiB more", arrow, "MiB"),
        _speed("log to Parquet", parquet, at_least(200_000)),
    ]


def _participants(bench: Bench, settings: Settings, decoder: Decoder, file: Path | None) -> dict[str, Measure]:
    """Who takes part; tables are thrown away where there is no file."""
    found: dict[str, Measure] = {
        OURS: partial(ours, settings, decoder, bench.sizes.log, file),
        PLAIN: partial(plainly, settings, bench.sizes.log, file),
    }
    if bench.has_eventsourcing:
        found[LIBRARY] = partial(eventsourcing, settings, bench.sizes.few, file)
    return found


def _speed(name: str, samples: Samples, asked: Goal) -> Figure:
    key = "events/s"
    return Figure(
        section=NAME,
        name=name,
        unit=key,
        better="higher",
        runs=runs_of(samples, OURS, key),
        asked=asked,
        peers=peers_of(samples, key),
    )


def _of(name: str, unit: str, samples: Samples, key: str) -> Figure:
    return Figure(section=NAME, name=name, unit=unit, better="lower", runs=runs_of(samples, OURS, key))


async def ours(settings: Settings, decoder: Decoder, total: int, file: Path | None) -> Sample:
    """The whole topic through `replay`, every column that it gives.

    Raises:
        Problem: events are missing.
    """
    began, cpu, done = time.perf_counter(), time.process_time(), 0
    writer: pq.ParquetWriter | None = None
    with Growth() as memory:
        async for tables in replay(settings, decoder, await ranges_now(settings, [TOPIC])):
            for frame in tables.values():
                table: pa.Table = await asyncio.to_thread(frame.to_arrow)
                if file is not None:
                    writer = writer or pq.ParquetWriter(file, table.schema)
                    await asyncio.to_thread(writer.write_table, table)
                done += table.num_rows
        if writer is not None:
            writer.close()
        elapsed_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    if done != total:
        raise Problem(f"the log has {total} events and {done} were replayed")
    return {"events/s": done / elapsed_s, "cpu µs": cpu_s / done * 1e6, "MiB": memory.mib}


async def plainly(settings: Settings, total: int, file: Path | None) -> Sample:
    """Record by record."""
    if file is None:
        return {"events/s": await plain.to_arrow(settings, total, _ignore)}
    return {"events/s": await plain.to_parquet(settings, total, file)}


async def eventsourcing(settings: Settings, count: int, file: Path | None) -> Sample:
    """Record some events, then read them again; only the latter counts."""
    from console.bench.peers import eventsourcing as library

    def measured() -> float:
        with library.schema(settings, NAME) as environment:
            library.ingest(environment, list(synthetic.interactions(count)))
            if file is None:
                return library.to_arrow(environment, _ignore)
            return library.to_parquet(environment, file)

    return {"events/s": await asyncio.to_thread(measured)}


def _ignore(table: pa.Table) -> None:
    """What is measured ends where the table is."""


SECTION = Section(NAME, 4, ("kafka", "postgres", "registry"), run)
