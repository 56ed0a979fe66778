"""`retrace audit`: whether the log is what was signed, proofs of single decisions, and what was never recorded."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from console.answers import answers_document, show_answers
from console.bounds import range_of, time_of
from console.output import OutputOption, as_json
from inference.explaining.whereabouts import find
from inference.serving.completeness import Completeness, completeness
from infra.audit import keys as notary_keys
from infra.audit import verifier
from infra.audit.chain import heads_of
from infra.audit.comparison import PartitionReport
from infra.audit.keys import PublicKeys
from infra.audit.ledger import open_ledger
from infra.audit.proof import Proof
from infra.audit.proof import prove as made
from infra.audit.verify import Report, Wanted
from infra.audit.verify import verify as verified
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Invalid, Rejected

app = typer.Typer(no_args_is_help=True, help="Show that the log is whole, and that nothing was changed.")

Since = Annotated[str | None, typer.Option("--since", help="a time (ISO 8601); the beginning when left out")]
Until = Annotated[str | None, typer.Option("--until", help="a time, not included; the end when left out")]
Keys = Annotated[
    list[Path] | None, typer.Option("--key", help="public key, PEM; may be repeated; default this installation's own")
]

screen = Console(highlight=False, soft_wrap=True)
progress = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command()
def verify(
    topic: Annotated[list[str] | None, typer.Option(help="only this topic; may be repeated")] = None,
    since: Since = None,
    until: Until = None,
    range: Annotated[
        list[str] | None, typer.Option("--range", help="only TOPIC/PARTITION/FIRST..END; may be repeated")
    ] = None,
    heads: Annotated[
        Path | None, typer.Option(help="what `retrace audit heads` said earlier: the chains have to hold it")
    ] = None,
    covered: Annotated[bool, typer.Option("--covered", help="fail too when the end is not checkpointed yet")] = False,
    key: Keys = None,
    output: OutputOption = "table",
) -> None:
    """Compute the signed checkpoints again from log and archive; exit status 0 only when all is as it was signed."""
    wanted = Wanted(
        topics=tuple(topic or ()),
        since=time_of(since),
        until=time_of(until),
        ranges=tuple(range_of(text) for text in range or ()),
        heads=_heads(heads),
    )
    report = asyncio.run(_verified(Settings(), _keys(key), wanted))
    if output == "json":
        typer.echo(as_json(document(report)))
    else:
        show(report, screen)
    raise typer.Exit(1 if report.faults or (covered and report.uncovered) else 0)


async def _verified(settings: Settings, keys: PublicKeys | None, wanted: Wanted) -> Report:
    decoder = await open_decoder(settings)
    return await verified(settings, decoder, keys or notary_keys.public_keys(settings), wanted, _told)


def _told(part: PartitionReport) -> None:
    if part.checkpoints or part.findings:
        progress.print(f"{part.log}: {part.checkpoints} checkpoints, {part.records:,} records read")


@app.command()
def prove(decision: Annotated[str, typer.Argument(help="id of the decision, as the answer gave it")]) -> None:
    """Print a proof that a decision stands on the log, for somebody who has nothing but the public key."""
    typer.echo(json.dumps(asyncio.run(_proven(Settings(), decision)), indent=1))


async def _proven(settings: Settings, decision_id: str) -> Proof:
    decoder = await open_decoder(settings)
    position = await find(settings, decoder, decision_id)
    return await made(settings, decoder, notary_keys.public_keys(settings), decision_id, position)


@app.command()
def check(
    proof: Annotated[Path, typer.Argument(help="what `retrace audit prove` printed; - for standard input")],
    key: Annotated[Path, typer.Option("--key", help="the notary's public key, PEM")],
) -> None:
    """Check a proof with the public key alone; exit status 0 only when all of it holds.

    infra/audit/verifier.py does the same by itself: copy that file to whoever should not need to trust this command.
    """
    text = sys.stdin.read() if str(proof) == "-" else _text(proof)
    typer.echo(json.dumps(checked(text, _text(key)), indent=2))


def checked(proof: str, pem: str) -> dict[str, Any]:
    """What a proof shows.

    Raises:
        Rejected: it does not hold.
    """
    try:
        return verifier.check(json.loads(proof), pem)
    except Exception as fault:
        why = str(fault) if isinstance(fault, ValueError) else f"it is cut short or malformed ({fault!r})"
        raise Rejected(
            f"REFUSED: {why}; get the proof and the public key again from where they were made", code="refused"
        ) from fault


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as fault:
        raise Invalid(f"{path} cannot be read: {fault}", code="unreadable") from fault


@app.command("completeness")
def complete(since: Since = None, until: Until = None, output: OutputOption = "table") -> None:
    """Show, for each start of a server, which answers are not on record; exit status 0 only when all of them are."""
    found = asyncio.run(_complete(Settings(), time_of(since), time_of(until)))
    if output == "json":
        typer.echo(json.dumps(answers_document(found), indent=2, default=str))
    else:
        show_answers(found, screen)
    raise typer.Exit(0 if found.whole else 1)


async def _complete(settings: Settings, since: datetime | None, until: datetime | None) -> Completeness:
    return await completeness(settings, await open_decoder(settings), since, until)


@app.command()
def heads() -> None:
    """Print the last checkpoint of every partition, to be kept where nobody who can write the log can change it."""
    found = asyncio.run(_found_heads(Settings()))
    typer.echo(as_json(found))


async def _found_heads(settings: Settings) -> dict[str, dict[str, int | str]]:
    keys = notary_keys.public_keys(settings)
    async with open_ledger(settings, await open_decoder(settings), keys) as ledger:
        return heads_of(ledger.chains)


@app.command("rotate-key")
def rotate_key() -> None:
    """Sign under a new key from now on; what the old one signed still verifies."""
    settings = Settings()
    signer = notary_keys.rotate(settings)
    typer.echo(f"the notary signs under key {signer.key_id} with its next checkpoint: {settings.notary_public_keys}")


def document(report: Report) -> dict[str, Any]:
    """A verification as plain values."""
    return {
        "whole": not report.faults,
        "checkpoints": report.checkpoints,
        "records": report.records,
        "uncovered": report.uncovered,
        "findings": [asdict(finding) for finding in report.faults],
        "partitions": [
            {
                "log": part.log,
                "checkpoints": part.checkpoints,
                "records": part.records,
                "first": part.first,
                "end": part.end,
                "log_end": part.log_end,
                "archived": [{"first": first, "end": end} for first, end in part.archived],
                "uncovered": part.uncovered,
                "overtaken": part.overtaken,
                "findings": len(part.findings),
            }
            for part in report.partitions
        ],
    }


def show(report: Report, screen: Console) -> None:
    """A verification as a table, with what was found below it."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("partition", "checkpoints", "records", "from", "to", "from archive", "not covered", "findings"):
        table.add_column(column, justify="left" if column == "partition" else "right", no_wrap=True)
    for part in report.partitions:
        if part.checkpoints or part.uncovered or part.findings:
            numbers = (part.checkpoints, part.records, part.first, part.end)
            archived = ", ".join(f"{first:,}..{end:,}" for first, end in part.archived) or "-"
            ends = (part.uncovered, len(part.findings))
            table.add_row(part.log, *_said(*numbers), archived, *_said(*ends))
    screen.print(table)
    for finding in report.faults:
        screen.print(str(finding), style="red", markup=False)
    if report.faults:
        screen.print(_judged(report))
        return
    screen.print(f"[green]as signed[/]: {report.records:,} records under {report.checkpoints:,} checkpoints")
    if report.uncovered:
        screen.print(f"{report.uncovered:,} offsets at the end have no checkpoint yet, and nothing is said about them")


def _said(*numbers: int) -> Sequence[str]:
    return [f"{number:,}" for number in numbers]


def _judged(report: Report) -> str:
    """The last line of a verification that is not clean: what is nowhere is no proof of anything, either way."""
    gone = [finding for finding in report.faults if finding.kind == "unchecked"]
    if len(gone) < len(report.faults):
        return f"[red]NOT as signed[/]: {len(report.faults)} findings"
    offsets = sum(finding.last - finding.first + 1 for finding in gone)
    return f"[red]cannot be checked[/]: {offsets:,} offsets; the other {report.records:,} records are as signed"


def _heads(path: Path | None) -> dict[str, dict[str, int | str]]:
    if path is None:
        return {}
    try:
        held: dict[str, dict[str, int | str]] = json.loads(path.read_text())
        return {log: {"number": int(one["number"]), "sha256": str(one["sha256"])} for log, one in held.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as fault:
        raise Invalid(f"{path} is not what `retrace audit heads` prints: {fault}", code="bad_heads") from fault


def _keys(paths: Sequence[Path] | None) -> PublicKeys | None:
    return notary_keys.read_public_keys(paths) if paths else None
