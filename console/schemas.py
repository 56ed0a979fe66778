"""`retrace schemas`: the contracts of this checkout beside those that the registry has."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Column, Table

from infra.registry.client import RegistryClient
from infra.registry.enlist import subjects
from infra.settings import Settings
from schemas.canonical import canonical
from schemas.contracts import Contract, contracts
from schemas.errors import NotFound

T = TypeVar("T")
MARKS = {"new": "[cyan]new[/]", "same": "[dim]same[/]", "changed": "[green]changed[/]", "refused": "[red]refused[/]"}

schemas = typer.Typer(no_args_is_help=True, help="Contracts: list, show, check, register.")


@dataclass(frozen=True)
class Verdict:
    """What the registry says about one contract under one subject.

    Attributes:
        state: `new`, `same`, `changed` (and allowed) or `refused`.
        faults: why it is refused; each names the field.
    """

    subject: str
    state: str
    faults: tuple[str, ...] = ()


@schemas.command("list")
def list_subjects() -> None:
    """Every subject with its latest version and id."""

    async def rows(client: RegistryClient) -> list[tuple[str, int, int]]:
        names = await client.subjects()
        latest = await asyncio.gather(*(client.latest(name) for name in names))
        return [(name, version, schema_id) for name, (version, schema_id, _) in zip(names, latest, strict=True)]

    table = Table(Column("subject", overflow="fold"), "version", "id")
    for name, version, schema_id in _asked(rows):
        table.add_row(name, str(version), str(schema_id))
    Console().print(table)


@schemas.command()
def show(what: Annotated[str, typer.Argument(help="id of a schema, or a subject for its latest version")]) -> None:
    """One schema, as the registry has it."""

    async def text(client: RegistryClient) -> str:
        return await client.schema_by_id(int(what)) if what.isdecimal() else (await client.latest(what))[2]

    sys.stdout.write(json.dumps(json.loads(_asked(text)), indent=2, ensure_ascii=False) + "\n")


@schemas.command()
def check() -> None:
    """Whether every .avsc of this checkout may follow what is registered; ends with 1 when one may not."""
    settings = Settings()
    wanted = list(_wanted(settings))

    async def verdicts(client: RegistryClient) -> list[Verdict]:
        return await asyncio.gather(*(judge(client, subject, contract) for subject, contract in wanted))

    found = _asked(verdicts)
    _print(found)
    if any(verdict.faults for verdict in found):
        raise typer.Exit(1)


@schemas.command()
def register() -> None:
    """Register every .avsc of this checkout; those that are registered keep their id."""
    wanted = list(_wanted(Settings()))

    async def ids(client: RegistryClient) -> list[int]:
        return [await client.register(subject, contract.json) for subject, contract in wanted]

    table = Table(Column("subject", overflow="fold"), "id")
    for (subject, _), schema_id in zip(wanted, _asked(ids), strict=True):
        table.add_row(subject, str(schema_id))
    Console().print(table)


async def judge(client: RegistryClient, subject: str, contract: Contract) -> Verdict:
    """What would happen if this contract were registered.

    Raises:
        Unavailable: the registry does not answer.
    """
    try:
        _, _, latest = await client.latest(subject)
    except NotFound:
        return Verdict(subject, "new")
    if canonical(latest) == canonical(contract.json):
        return Verdict(subject, "same")
    faults = await client.check(subject, contract.json)
    return Verdict(subject, "refused" if faults else "changed", tuple(faults))


def _wanted(settings: Settings) -> Iterator[tuple[str, Contract]]:
    for contract in contracts().values():
        for subject in subjects(settings, contract):
            yield subject, contract


def _print(verdicts: list[Verdict]) -> None:
    """What differs, line by line; the rest as a number."""
    table = Table(Column("subject", overflow="fold"), "", Column("why", overflow="fold"))
    for verdict in verdicts:
        if verdict.state != "same":
            table.add_row(verdict.subject, MARKS[verdict.state], "\n".join(verdict.faults))
    out = Console()
    if table.rows:
        out.print(table)
    counts = Counter(verdict.state for verdict in verdicts)
    out.print(", ".join(f"{counts[state]} {mark}" for state, mark in MARKS.items() if counts[state]))


def _asked(question: Callable[[RegistryClient], Coroutine[Any, Any, T]]) -> T:
    async def ask() -> T:
        async with RegistryClient(Settings().registry.url) as client:
            return await question(client)

    return asyncio.run(ask())
