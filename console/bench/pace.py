"""Two loads of one HTTP service: how long an answer takes at a steady rate, and how many some clients get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from console.bench.bench import Bench
from console.bench.cpu import told, with_cpu
from console.bench.figure import OURS, Figure, Goal, Sample, Samples, at_most, peers_of, runs_of
from console.bench.load import Send, closed_loop, open_loop


@dataclass(frozen=True)
class Pace:
    """How a service is loaded, and what is asked of it.

    Attributes:
        section: where the figures belong.
        unit: what an answer is, in the plural.
        rate: per second, in the open loop.
        clients: in the closed loop.
        watched: processes whose CPU time is told.
        latencies: percentiles shown, in milliseconds.
        most: in the closed loop.
    """

    section: str
    unit: str
    rate: int
    clients: int
    watched: Sequence[str]
    latencies: Mapping[str, Goal | None]
    most: Goal

    async def measured(self, bench: Bench, send: Send) -> Sample:
        """One run of both loads."""
        steady = await open_loop(send, rate=self.rate, duration_s=bench.sizes.load_s)
        loop = closed_loop(send, clients=self.clients, duration_s=bench.sizes.closed_s)
        full, cpu = await with_cpu(bench.stack, self.watched, loop)
        for fault, times in (steady.faults + full.faults).most_common(3):
            bench.say(f"  [red]{times} × {fault}[/]")
        return steady.summary() | {"full": full.rate, "faults": steady.faults.total() + full.faults.total()} | cpu

    def figures(self, samples: Samples) -> list[Figure]:
        """The figures of these runs."""
        late = max(runs_of(samples, OURS, "late_ms"))
        said = f"the generator was at most {late:.1f} ms late, which the latencies include"
        latencies = [
            self._figure(samples, key, f"{key} at {self.rate}/s", "ms", goal, said if key == "p99" else "")
            for key, goal in self.latencies.items()
        ]
        name, unit = f"{self.clients} clients", f"{self.unit}/s"
        most = self._figure(samples, "full", name, unit, self.most, told(samples[OURS], self.watched))
        return [*latencies, most, self._figure(samples, "faults", "refused or failed", self.unit, at_most(0))]

    def _figure(self, samples: Samples, key: str, name: str, unit: str, asked: Goal | None, note: str = "") -> Figure:
        return Figure(
            section=self.section,
            name=name,
            unit=unit,
            better="higher" if key == "full" else "lower",
            runs=runs_of(samples, OURS, key),
            asked=asked,
            peers=peers_of(samples, key),
            note=note,
        )
