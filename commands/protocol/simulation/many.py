"""Many schedules, on all cores."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import NamedTuple

from commands.protocol.simulation.check import Violation
from commands.protocol.simulation.world import GUARDS, Guard, World

CHUNK = 25


class Ran(NamedTuple):
    """What came of some schedules.

    Attributes:
        schedules: how many ran.
        void: records that reached the log and do not count.
        records: all records that reached the log.
        broken: what was violated, by seed.
    """

    schedules: int = 0
    void: int = 0
    records: int = 0
    broken: tuple[tuple[int, str], ...] = ()

    def plus(self, other: "Ran") -> "Ran":
        """Both together."""
        return Ran(
            self.schedules + other.schedules,
            self.void + other.void,
            self.records + other.records,
            tuple(sorted(self.broken + other.broken)),
        )


def simulate_many(first_seed: int, seeds: int, *, jobs: int = 1, guards: frozenset[Guard] = GUARDS) -> Iterator[Ran]:
    """Run the schedules of so many seeds; yields what came of each part, as it is done.

    Args:
        jobs: processes to use.
    """
    parts = [
        range(start, min(start + CHUNK, first_seed + seeds)) for start in range(first_seed, first_seed + seeds, CHUNK)
    ]
    if jobs == 1:
        yield from (_run(part, guards) for part in parts)
        return
    context = multiprocessing.get_context("spawn")  # the caller may have threads, which a fork would break
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for done in as_completed([pool.submit(_run, part, guards) for part in parts]):
            yield done.result()


def _run(seeds: Sequence[int], guards: frozenset[Guard]) -> Ran:
    ran = Ran()
    for seed in seeds:
        world = World(seed, guards)
        broken: tuple[tuple[int, str], ...] = ()
        try:
            world.run()
        except Violation as violation:
            broken = ((seed, str(violation)),)
        records = world.log.records
        ran = ran.plus(Ran(1, sum(not raw.counts for raw in records), len(records), broken))
    return ran
