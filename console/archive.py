"""`retrace archive`: closed ranges of the log as files that outlive Kafka's."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console

from console.bounds import chosen_ranges
from console.export.pace import Pace
from console.output import Output, OutputOption, as_json, grid
from console.progress import following
from infra.archive.create import Archived, Archiver, waiting
from infra.archive.reading import holdings
from infra.archive.store import Store
from infra.archive.verify import Checked, verify
from infra.kafka.fetch import name_of
from infra.kafka.topics import create_topics
from infra.settings import Settings
from schemas.errors import Problem, Rejected
from schemas.topics import TOPICS

app = typer.Typer(no_args_is_help=True, help="Keep closed ranges of the log as signed files that outlive Kafka's.")
screen = Console(stderr=True, highlight=False)


TopicOption = Annotated[list[str] | None, typer.Option("--topic", help="only this topic; may be repeated")]


@app.command()
def create(
    topic: TopicOption = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="[TOPIC/]PARTITION:OFFSET,... or a time, not included; all there is when left out"),
    ] = None,
    output: OutputOption = "table",
) -> None:
    """Archive what the log holds and the archive does not have yet; give it again at any time, also after a kill."""
    done = asyncio.run(_create(Settings(), tuple(topic or TOPICS), to))
    rows = [[one.part.topic, str(one.part.partition), *_added(one)] for one in done]
    _tell(output, ["topic", "partition", "added", "records", "files", "bytes"], rows, [asdict(one) for one in done])
    lost = [one.lost for one in done if one.lost is not None]
    if lost:
        listed = ", ".join(name_of(part) for part in lost)
        raise Rejected(
            f"Kafka had deleted {listed} before it was archived: look for a copy; what came after is archived",
            code="not_archived_in_time",
        )


async def _create(settings: Settings, topics: Sequence[str], to: str | None) -> list[Archived]:
    await create_topics(settings)
    ranges = await chosen_ranges(settings, topics, None, to)
    rest = await waiting(settings, ranges)
    with following(screen, "archive") as report:
        pace = Pace(sum(part.end - part.first for part in rest), report)
        return [one async for one in Archiver(settings, pace.passed).archive(ranges)]


def _added(one: Archived) -> list[str]:
    part = one.part
    return [f"{part.first}..{part.end}", f"{one.records:,}", str(one.files), f"{one.size_bytes:,}"]


@app.command("list")
def list_(topic: TopicOption = None, output: OutputOption = "table") -> None:
    """What the archive holds, by its manifests; `verify` reads the files as well."""
    settings = Settings()
    store, rows, said, faults = Store(settings), list[list[str]](), list[dict[str, Any]](), list[str]()
    for name, partition in store.topics():
        if topic and name not in topic:
            continue
        try:
            runs = holdings(store.manifests(name, partition))
        except Problem as problem:
            faults.append(problem.detail)
            continue
        for run in runs:
            records, size = sum(m.records for m in run.manifests), sum(m.size_bytes for m in run.manifests)
            files = sum(len(m.files) for m in run.manifests)
            rows.append([name, str(partition), f"{run.first}..{run.end}", f"{records:,}", str(files), f"{size:,}"])
            said.append(
                {"topic": name, "partition": partition, "first": run.first, "end": run.end, "records": records}
                | {"files": files, "bytes": size, "manifest_sha256": run.manifests[-1].sha256}
            )
    _tell(output, ["topic", "partition", "offsets", "records", "files", "bytes"], rows, said)
    if faults:
        raise Rejected("; ".join(faults), code="archive_damaged")


@app.command("verify")
def verify_(
    topic: TopicOption = None,
    against_log: Annotated[bool, typer.Option(help="compare with the records that Kafka still has")] = False,
    output: OutputOption = "table",
) -> None:
    """Check signatures, hashes of files and of records; exit status 0 only when all of it is whole."""
    settings = Settings()
    total = sum(
        file.end - file.first
        for place in Store(settings).topics()
        if not topic or place[0] in topic
        for file in _files(settings, place)
    )
    with following(screen, "verify") as report:
        pace = Pace(total, report)
        found = asyncio.run(verify(settings, topic or (), pace.passed, against_log=against_log))
    rows = [_row(one) for one in found]
    _tell(
        output, ["topic", "partition", "offsets", "records", "compared", "state"], rows, [asdict(one) for one in found]
    )
    faults = [fault for one in found for fault in one.faults]
    for fault in faults:
        screen.print(fault, soft_wrap=True, markup=False)
    if faults:
        raise typer.Exit(1)


def _files(settings: Settings, place: tuple[str, int]) -> list[Any]:
    try:
        return [file for one in Store(settings).manifests(*place) for file in one.manifest.files]
    except Problem:
        return []  # verify says what is wrong


def _row(one: Checked) -> list[str]:
    offsets = "" if one.part is None else f"{one.part.first}..{one.part.end}"
    state = "whole" if one.is_whole else "[red]damaged[/]"
    return [one.topic, str(one.partition), offsets, f"{one.records:,}", f"{one.compared:,}", state]


def _tell(output: Output, titles: Sequence[str], rows: Sequence[Sequence[str]], said: Sequence[object]) -> None:
    out = Console(highlight=False)
    if output == "json":
        out.out(as_json(list(said)))
        return
    table = grid(*titles)
    for row in rows:
        table.add_row(*row)
    out.print(table)
