"""The log again, from offset 0, as Parquet."""

import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from console.bench import synthetic
from console.bench.bench import Bench, Measure, Section
from console.bench.figure import OURS, Figure, Sample, at_least, peers_of, runs_of
from console.bench.log import TOPIC, filled
from console.bench.peers import plain
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import replay
from infra.settings import Settings
from schemas.errors import Problem

NAME = "replay"


async def run(bench: Bench) -> list[Figure]:
    """Let everybody write the same events to a file."""
    settings = bench.corner("log")
    decoder = await filled(settings, bench.sizes.log)
    with tempfile.TemporaryDirectory(prefix="retrace-bench-") as folder:
        file = Path(folder) / "events.parquet"
        participants: dict[str, Measure] = {
            OURS: partial(ours, settings, decoder, bench.sizes.log, file),
            "plain aiokafka": partial(plainly, settings, bench.sizes.log, file),
        }
        if bench.has_eventsourcing:
            participants["eventsourcing"] = partial(eventsourcing, settings, bench.sizes.few, file)
        samples = await bench.alternate(NAME, participants, warm_up=True)
    figure = Figure(
        section=NAME,
        name="log to Parquet",
        unit="events/s",
        better="higher",
        runs=runs_of(samples, OURS, "events/s"),
        asked=at_least(200_000),
        peers=peers_of(samples, "events/s"),
    )
    return [figure]


async def ours(settings: Settings, decoder: Decoder, total: int, file: Path) -> Sample:
    """The whole topic through `replay`, every column that it gives.

    Raises:
        Problem: events are missing.
    """
    began, done, writer = time.perf_counter(), 0, None
    async for tables in replay(settings, decoder, await ranges_now(settings, [TOPIC])):
        for frame in tables.values():
            table: pa.Table = frame.to_arrow()
            writer = writer or pq.ParquetWriter(file, table.schema)
            await asyncio.to_thread(writer.write_table, table)
            done += frame.height
    if writer is not None:
        writer.close()
    elapsed_s = time.perf_counter() - began
    if done != total:
        raise Problem(f"the log has {total} events and {done} were replayed")
    return {"events/s": done / elapsed_s}


async def plainly(settings: Settings, total: int, file: Path) -> Sample:
    """Record by record."""
    return {"events/s": await plain.to_parquet(settings, total, file)}


async def eventsourcing(settings: Settings, count: int, file: Path) -> Sample:
    """Record some events, then read them again; only the latter counts."""
    from console.bench.peers import eventsourcing as library

    def measured() -> float:
        with library.schema(settings, NAME) as environment:
            library.ingest(environment, list(synthetic.interactions(count)))
            return library.to_parquet(environment, file)

    return {"events/s": await asyncio.to_thread(measured)}


SECTION = Section(NAME, 4, ("kafka", "postgres", "registry"), run)
