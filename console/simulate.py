"""`retrace simulate`: the offset-checked append under every mishap that a seed can think of."""

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from commands.protocol.simulation.check import Violation
from commands.protocol.simulation.many import Ran, simulate_many
from commands.protocol.simulation.world import GUARDS, Guard, World
from schemas.errors import Invalid

LISTED = 20


def simulate(
    seeds: Annotated[int, typer.Option(min=1, help="how many schedules")] = 2000,
    first_seed: Annotated[int, typer.Option(min=0, help="the first one's seed; the others follow")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="processes; default one for each core")] = os.cpu_count() or 1,
    without: Annotated[
        list[str] | None, typer.Option(help=f"take a guard out, to see that it is missed: {', '.join(sorted(GUARDS))}")
    ] = None,
    trace: Annotated[bool, typer.Option(help="tell what happens in the first schedule, step by step")] = False,
) -> None:
    """Run the writers of the log in a world of crashes, pauses and lost packets, and check every promise.

    The exit status is 1 when a promise was broken; a seed that broke one is replayed with --first-seed SEED --trace.
    """
    guards = _guards(without or [])
    screen = Console(highlight=False, soft_wrap=True)
    if trace:
        _tell(screen, World(first_seed, guards, story=[]))
        return
    ran = Ran()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("schedules", total=seeds)
        for part in simulate_many(first_seed, seeds, jobs=jobs, guards=guards):
            ran = ran.plus(part)
            progress.update(bar, completed=ran.schedules)
    for seed, message in ran.broken[:LISTED]:
        screen.print(f"seed {seed}: {message}", markup=False)
    if ran.broken:
        again = "".join(f' --without "{guard}"' for guard in sorted(GUARDS - guards))
        screen.print(f"see how: retrace simulate --first-seed {ran.broken[0][0]} --trace{again}", markup=False)
    screen.print(f"{ran.records} records reached the log, {ran.void} of them void")
    screen.print(f"{ran.schedules} schedules ran, {len(ran.broken) or 'none'} broke a promise")
    if ran.broken:
        raise typer.Exit(1)


def _guards(without: list[str]) -> frozenset[Guard]:
    unknown = set(without) - GUARDS
    if unknown:
        raise Invalid(
            f"there is no guard '{unknown.pop()}': choose among {', '.join(sorted(GUARDS))}", code="unknown_guard"
        )
    return frozenset(guard for guard in GUARDS if guard not in without)


def _tell(screen: Console, world: World) -> None:
    broken: Violation | None = None
    try:
        world.run()
    except Violation as violation:
        broken = violation
    for number, line in enumerate(world.story or (), 1):
        screen.print(f"{number:4} {line}", markup=False)
    if broken is not None:
        screen.print(f"seed {world.seed}: {broken}", style="red", markup=False)
    screen.print(f"1 schedule ran, {'1' if broken else 'none'} broke a promise")
    if broken is not None:
        raise typer.Exit(1)
