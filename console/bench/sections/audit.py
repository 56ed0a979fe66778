"""Tamper evidence: signing a log, verifying it, and what counting an answer costs the answer."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import count

from prometheus_client import REGISTRY

from console.bench.bench import Bench, Section
from console.bench.figure import OURS, Figure, Sample, runs_of
from console.bench.log import TOPIC, filled
from inference.serving.tickets import Tickets
from infra.audit import notary
from infra.audit.keys import public_keys
from infra.audit.verify import Wanted, verify
from infra.health import Health
from infra.settings import Settings
from schemas.errors import Problem

NAME = "audit"
ANSWERS = 100_000
DECISION = "0193c7ab-0f3e-7c55-9d7e-2f6f0f4b7f11"
UNITS = {
    "signed": "records/s",
    "signed, of CPU time": "records/s",
    "verified": "records/s",
    "verified, of CPU time": "records/s",
    "counting an answer": "µs of CPU",
}
NOTES = {
    "signed": "interactions that wait, read, hashed, signed and on `audit`; one process",
    "signed, of CPU time": "the same by CPU seconds of the process: no matter what else the machine does",
    "verified": "the same log from its beginning; one process",
    "verified, of CPU time": "the same by CPU seconds of the process",
    "counting an answer": "number, slot and release in the file that outlives a kill -9",
}


async def run(bench: Bench) -> list[Figure]:
    """Let a log grow, and sign what has come; then verify all of it."""
    corner = bench.corner(NAME)
    rate = corner.notary.model_copy(update={"seconds": 0.1, "verify_s": 0})
    settings = corner.model_copy(update={"notary": rate})
    sizes = count(bench.sizes.log, bench.sizes.log)
    samples = await bench.alternate(NAME, {OURS: partial(ours, settings, sizes)}, warm_up=True)
    return [
        Figure(
            section=NAME,
            name=name,
            unit=unit,
            better="lower" if "CPU" in unit else "higher",
            runs=runs_of(samples, OURS, name),
            note=NOTES[name],
        )
        for name, unit in UNITS.items()
    ]


async def ours(settings: Settings, sizes: Iterator[int]) -> Sample:
    """One run: the log grows, is signed up to its end, and verified.

    Raises:
        Problem: the log that nobody touched is not as it was signed.
    """
    decoder = await filled(settings, next(sizes))
    signed, wall_s, cpu_s = await _signed(settings)
    began, used = time.perf_counter(), time.process_time()
    report = await verify(settings, decoder, public_keys(settings), Wanted(topics=(TOPIC,)))
    verified_s, verified_cpu_s = time.perf_counter() - began, time.process_time() - used
    if report.faults:
        raise Problem(f"what nobody touched is not as it was signed: {report.faults[0]}")
    return {
        "signed": signed / wall_s,
        "signed, of CPU time": signed / cpu_s,
        "verified": report.records / verified_s,
        "verified, of CPU time": report.records / verified_cpu_s,
        "counting an answer": await asyncio.to_thread(_counted, settings),
    }


async def _signed(settings: Settings) -> tuple[float, float, float]:
    """Records that the notary signed until nothing waited, and how long that took by the clock and by CPU time."""
    before, health = _records(), Health(NAME)
    began, used = time.perf_counter(), time.process_time()
    task = asyncio.create_task(notary.work(settings, health))
    try:
        while not ("log" in health.components and health.components["log"].cause.startswith("0 offsets")):
            if task.done():
                task.result()
            await asyncio.sleep(0.005)
        return _records() - before, time.perf_counter() - began, time.process_time() - used
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _records() -> float:
    return REGISTRY.get_sample_value("retrace_notary_records_total") or 0.0


def _counted(settings: Settings) -> float:
    """What the count of answers adds to one, in microseconds of CPU time."""
    tickets = Tickets("bench/0", 1000, settings.ticket_folder / "bench.tickets")
    try:
        used = time.process_time()
        for _ in range(ANSWERS):
            tickets.release(tickets.hold(tickets.next(), DECISION))
        return (time.process_time() - used) / ANSWERS * 1e6
    finally:
        tickets.close(done=True)


SECTION = Section(NAME, 4, ("kafka", "registry"), run)
