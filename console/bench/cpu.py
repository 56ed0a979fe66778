"""CPU time that servers and this process use: it says more than a clock does on a machine that others use as well."""

import time
from collections.abc import Awaitable, Sequence
from statistics import median

import psutil

from console.bench.figure import Sample
from console.bench.load import Load
from infra.stack.stack import Stack

CLIENT = "client"


async def with_cpu(stack: Stack, names: Sequence[str], load: Awaitable[Load]) -> tuple[Load, dict[str, float]]:
    """What came of a load, and as part of a sample what each of these servers and this process used per request."""
    before = _used_s(stack, names)
    came = await load
    after = _used_s(stack, names)
    answered = max(len(came.latencies_ms), 1)
    return came, {_key(who): (after[who] - before[who]) * 1000 / answered for who in before}


def told(samples: Sequence[Sample], names: Sequence[str]) -> str:
    """The medians, in a line for the reader."""
    shares = [f"{who} {median(sample[_key(who)] for sample in samples):.2f}" for who in (*names, CLIENT)]
    return f"CPU per request in ms: {', '.join(shares)}; load of the machine {psutil.getloadavg()[0]:.1f}"


def _key(who: str) -> str:
    return f"{who} CPU ms"


def _used_s(stack: Stack, names: Sequence[str]) -> dict[str, float]:
    return {name: _of(stack.server(name).pid) for name in names} | {CLIENT: time.process_time()}


def _of(pid: int | None) -> float:
    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
