"""`retrace faults`: the commands."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from console.faults.campaign import HISTORY, KINDS, Plan, Report, run_campaign
from console.faults.check import Violation, check_history
from console.faults.history import read_history
from infra.log import configure_logging
from infra.settings import Settings
from schemas.errors import Invalid

LISTED = 20

app = typer.Typer(no_args_is_help=True, help="Break everything around the write side, and check every answer.")


@app.command()
def run(
    commands: Annotated[int, typer.Option(min=1, help="decided at least")] = 100_000,
    faults: Annotated[int, typer.Option(min=1, help=f"of {len(KINDS)} kinds, equally often")] = 60,
    seed: Annotated[int, typer.Option(help="of the choices; timing is the machine's")] = 1,
    data_dir: Annotated[Path | None, typer.Option(help="folder that is not there yet; default <data>-faults")] = None,
) -> None:
    """Run a campaign on a Kafka of its own; exit status 1 when a promise was broken."""
    configure_logging("faults", "error")
    settings, screen = Settings(), Console(highlight=False, soft_wrap=True)
    folder = data_dir or settings.data_dir.with_name(f"{settings.data_dir.name}-faults")
    if folder.exists() and any(folder.iterdir()):
        raise Invalid(f"{folder} is not empty: remove it, or name another with --data-dir", code="folder_not_empty")
    plan = Plan(commands=commands, faults=faults, seed=seed, settle=max(30, commands // (2 * faults)))
    report = asyncio.run(run_campaign(plan, folder, screen.print))
    show(screen, report)
    screen.print(f"the history is in {folder / HISTORY}: retrace faults check {folder}")
    _end(report.violations)


@app.command()
def check(folder: Annotated[Path, typer.Argument(help="of a campaign that was run")]) -> None:
    """Check the history of a campaign again."""
    path = folder / HISTORY
    if not path.is_file():
        raise Invalid(f"there is no {path}: run a campaign first (retrace faults run)", code="no_history")
    operations, effects = read_history(path)
    violations = check_history(operations, effects)
    screen = Console(highlight=False, soft_wrap=True)
    _tell(screen, violations)
    screen.print(f"{len(operations)} commands and {len(effects)} events checked, {len(violations)} violations")
    _end(violations)


def show(screen: Console, report: Report) -> None:
    """What was done, what came of it, and what was broken."""
    faults = Table("fault", "times", "what the services said meanwhile")
    for kind in KINDS:
        faults.add_row(kind, str(report.faults[kind]), ", ".join(sorted(report.seen.get(kind, ()))))
    screen.print(faults)
    commands = Table("commands", "sent", "of them retried")
    for outcome in ("accepted", "refused", "unknown"):
        chosen = [one for one in report.operations if one.outcome == outcome]
        commands.add_row(outcome, str(len(chosen)), str(sum(one.attempts > 1 for one in chosen)))
    decided = sum(one.status not in (0, 503, 504) for one in report.operations)
    commands.add_row("all", str(len(report.operations)), str(sum(one.attempts > 1 for one in report.operations)))
    screen.print(commands)
    codes = Counter(one.code for one in report.operations if one.outcome == "refused")
    screen.print("refused for: " + ", ".join(f"{code} {times}" for code, times in codes.most_common()))
    again = sum(len(one.again) for one in report.operations)
    counted = ", ".join(f"{why} {times}" for why, times in sorted(report.counted.items()))
    screen.print(f"told again {again}, records {len(report.effects)}, of them void {report.void}")
    screen.print(f"batches, as the processors counted them: {counted or 'none in doubt'}")
    _tell(screen, report.violations)
    screen.print(f"{decided} commands decided, {report.faults.total()} faults, {len(report.violations)} violations")


def _tell(screen: Console, violations: list[Violation]) -> None:
    for kind, times in Counter(violation.kind for violation in violations).items():
        screen.print(f"{kind}: {times}", style="red")
    for violation in violations[:LISTED]:
        screen.print(f"  {violation.kind}: {violation.detail}", markup=False)


def _end(violations: list[Violation]) -> None:
    if violations:
        raise typer.Exit(1)
