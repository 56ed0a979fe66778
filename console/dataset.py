"""`retrace dataset`: build, show, verify and export what models are trained on; the same on Spark."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from console.bounds import chosen_ranges, time_of
from console.output import Output, OutputOption, as_json, grid
from console.progress import following
from console.spark import Wanted, on_spark, params
from inference.datasets.again import Comparison, find, verify
from inference.datasets.dataset import INTERACTIONS, PROFILES, Asked, Dataset, build, fixed_ranges
from inference.datasets.filters import filters_of
from inference.datasets.frames import Format, written
from inference.datasets.manifest import Manifest
from inference.datasets.shelf import keep
from inference.feature import features as declared
from infra.kafka.fetch import name_of
from infra.kafka.replay import WORKERS
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Invalid
from schemas.models import OffsetRange

screen = Console(stderr=True, highlight=False)
console = Console(highlight=False)


WorkersOption = Annotated[int, typer.Option(min=1, help="parts of the log that are read at once")]
ManifestArgument = Annotated[
    str, typer.Argument(help="manifest.json, its folder, or the hash under which the store keeps the dataset")
]

app = typer.Typer(no_args_is_help=True, help="What models are trained on: build, show, verify, export; and on Spark.")


@app.command("build")
def build_command(
    first: Annotated[
        str | None, typer.Option("--from", help="of interactions: PARTITION:OFFSET,... or a time; the start")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="of interactions: PARTITION:OFFSET,... or a time, not included; the end")
    ] = None,
    profiles_end: Annotated[
        str | None, typer.Option("--consent-at", help="PARTITION:OFFSET,... or a time: consent as it stood there")
    ] = None,
    kind: Annotated[list[str] | None, typer.Option(help="only this kind of interaction; may be repeated")] = None,
    item: Annotated[list[str] | None, typer.Option(help="only this item; may be repeated")] = None,
    category: Annotated[list[str] | None, typer.Option(help="only items of this category; may be repeated")] = None,
    user: Annotated[list[str] | None, typer.Option(help="only this user; may be repeated")] = None,
    without_item: Annotated[list[str] | None, typer.Option(help="not this item; may be repeated")] = None,
    without_user: Annotated[list[str] | None, typer.Option(help="not this user; may be repeated")] = None,
    since: Annotated[str | None, typer.Option(help="occurred at this time or later")] = None,
    until: Annotated[str | None, typer.Option(help="occurred before this time")] = None,
    min_value: Annotated[float | None, typer.Option(help="with a value of this or more")] = None,
    max_value: Annotated[float | None, typer.Option(help="with a value of this or less")] = None,
    min_per_user: Annotated[int, typer.Option(min=0, help="only users with so many interactions in it")] = 0,
    min_per_item: Annotated[int, typer.Option(min=0, help="only items with so many interactions in it")] = 0,
    features: Annotated[str | None, typer.Option(help="NAME,... of `retrace dataset features`, as known then")] = None,
    lag: Annotated[
        float | None, typer.Option(min=0, help="seconds until features know what happens in other partitions")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="new folder for manifest.json and the rows")] = None,
    format: Annotated[Format, typer.Option(help="of the rows")] = Format.parquet,
    store: Annotated[bool, typer.Option(help="keep it beside the artifacts, under its hash")] = True,
    workers: WorkersOption = WORKERS,
    output: OutputOption = "table",
) -> None:
    """Build a dataset from a part of the log, and its manifest."""
    values: dict[str, Any] = {
        "kinds": kind or (),
        "items": item or (),
        "categories": category or (),
        "users": user or (),
        "without_items": without_item or (),
        "without_users": without_user or (),
        "since": time_of(since),
        "until": time_of(until),
        "min_value": min_value,
        "max_value": max_value,
        "min_per_user": min_per_user,
        "min_per_item": min_per_item,
    }
    asked = Asked(
        filters=filters_of(values),
        features=_names(features),
        lag_ms=None if lag is None else round(lag * 1000),
        workers=workers,
    )
    _new_folder(out)
    dataset = asyncio.run(_build(Settings(), (first, end, profiles_end), asked))
    if store:
        screen.print(f"kept in {keep(Settings(), dataset)}", soft_wrap=True)
    if out is not None:
        screen.print(f"written to {written(dataset, out, format)}", soft_wrap=True)
    _tell(dataset.manifest, output)


@app.command()
def show(manifest: ManifestArgument, output: OutputOption = "table") -> None:
    """What a manifest says, without building anything."""
    _tell(find(Settings(), manifest), output)


@app.command("verify")
def verify_command(
    manifest: ManifestArgument, workers: WorkersOption = WORKERS, output: OutputOption = "table"
) -> None:
    """Build a dataset again and compare; exit status 0 only when everything is identical."""
    comparison, _ = asyncio.run(_verified(Settings(), manifest, workers))
    if output == "json":
        print(comparison.as_json())
    else:
        console.print(_compared(comparison))
        console.print(comparison.verdict, soft_wrap=True)
    raise typer.Exit(0 if comparison.identical else 1)


@app.command()
def export(
    manifest: ManifestArgument,
    out: Annotated[Path, typer.Option(help="new folder for manifest.json and the rows")],
    format: Annotated[Format, typer.Option(help="of the rows")] = Format.parquet,
    workers: WorkersOption = WORKERS,
    output: OutputOption = "table",
) -> None:
    """Build a dataset again and write its rows, when they are identical to what the manifest says."""
    _new_folder(out)
    comparison, dataset = asyncio.run(_verified(Settings(), manifest, workers))
    if not comparison.identical:
        raise Invalid(f"nothing was written: {comparison.verdict}", code="not_identical")
    screen.print(f"written to {written(dataset, out, format)}", soft_wrap=True)
    _tell(dataset.manifest, output)


@app.command()
def features(output: OutputOption = "table") -> None:
    """The features that `build --features` takes."""
    found = sorted(declared().values(), key=lambda one: one.name)
    if output == "json":
        said = [
            {"name": one.name, "version": one.version, "about": one.about, "columns": list(one.columns)}
            for one in found
        ]
        print(as_json(said))
        return
    table = grid("feature", "version", "columns", "what it says", whole=("feature", "columns"))
    for one in found:
        table.add_row(one.name, str(one.version), "\n".join(one.columns), one.about)
    console.print(table)


@app.command()
def spark(
    manifest: ManifestArgument,
    out: Annotated[Path | None, typer.Option(help="new folder for the rows, and the model")] = None,
    als: Annotated[bool, typer.Option(help="fit Spark's ALS, and measure it beside our iALS and popularity")] = False,
    param: Annotated[list[str] | None, typer.Option(help="of ALS, NAME=VALUE; may be repeated")] = None,
    k: Annotated[int, typer.Option(min=1, help="items per answer of the model, and places that are measured")] = 20,
    cores: Annotated[int, typer.Option(min=1, help="threads of Spark")] = 2,
    heap_mb: Annotated[int, typer.Option(min=256, help="most memory of Spark's heap, MiB")] = 1024,
    output: OutputOption = "table",
) -> None:
    """Let Spark read exactly what a manifest names; exit status 0 only when it finds identical rows."""
    settings = Settings()
    _new_folder(out)
    wanted = Wanted(out, als, params(param or ()), k, cores, heap_mb)
    outcome = asyncio.run(on_spark(settings, manifest, find(settings, manifest), wanted))
    if output == "json":
        print(outcome.as_json())
    else:
        if outcome.metrics:
            console.print(outcome.table())
        console.print(outcome.verdict, soft_wrap=True)
    raise typer.Exit(0 if outcome.identical else 1)


async def _build(settings: Settings, bounds: tuple[str | None, str | None, str | None], asked: Asked) -> Dataset:
    decoder = await open_decoder(settings)
    first, end, consent = bounds
    ranges: list[OffsetRange] = await chosen_ranges(settings, [INTERACTIONS], first, end)
    if consent is not None:
        ranges += await chosen_ranges(settings, [PROFILES], None, consent)
    with following(screen, "dataset") as report:
        return await build(settings, decoder, await fixed_ranges(settings, ranges), report, asked)


async def _verified(settings: Settings, name: str, workers: int) -> tuple[Comparison, Dataset]:
    manifest = find(settings, name)
    decoder = await open_decoder(settings)
    with following(screen, "verify") as report:
        return await verify(settings, decoder, name, manifest, workers, report)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def _new_folder(out: Path | None) -> None:
    """Before anything is read: it would be a pity to find out afterwards."""
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Invalid(f"{out} is not an empty folder: name another, or remove it", code="out_exists")


def _tell(manifest: Manifest, output: Output) -> None:
    if output == "json":
        print(manifest.as_json(), end="")
        return
    console.print(_manifest_table(manifest))


def _manifest_table(manifest: Manifest) -> Table:
    table = Table(title=f"dataset {manifest.sha256[:12]}", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    filters = {name: value for name, value in manifest.as_dict()["filters"].items() if value}
    rows: dict[str, Any] = {
        "content": manifest.sha256,
        "recipe": manifest.recipe_sha256,
        "tenant": manifest.tenant,
        "ranges": "\n".join(map(name_of, manifest.ranges)),
        "filters": "\n".join(f"{name}: {value}" for name, value in filters.items()) or "none",
        "rows": f"{manifest.rows:,} of {manifest.users:,} users and {manifest.items:,} items",
        "left out": ", ".join(f"{count:,} {why}" for why, count in _left_out(manifest)) or "nothing",
        "schemas": ", ".join(map(str, manifest.schema_ids)),
        "erasures looked for in": "\n".join(map(name_of, manifest.erasures)),
    }
    for one in manifest.features:
        rows[f"feature {one.name} v{one.version}"] = f"{', '.join(one.columns)}\n{one.sha256}"
    if manifest.known is not None:
        known = manifest.known
        stamps = ", ".join(f"{topic} by the {who}" for topic, who in known.stamps.items())
        rows["features know"] = f"what was there {known.lag_ms} ms before; stamps of {stamps}; {known.late:,} late rows"
    for name, value in rows.items():
        table.add_row(name, str(value))
    return table


def _short(value: object) -> str:
    """Hashes by their beginning: all of them are in the JSON."""
    return f"{value:,}" if isinstance(value, int) else str(value)[:12]


def _left_out(manifest: Manifest) -> list[tuple[str, int]]:
    counts = [
        ("duplicates", manifest.duplicates),
        ("silent", manifest.silent),
        ("not asked for", manifest.filtered),
        ("withdrawn", manifest.withdrawn),
        ("erased", manifest.erased),
        ("of too few", manifest.thinned),
    ]
    return [(why, count) for why, count in counts if count]


def _compared(comparison: Comparison) -> Table:
    table = Table(title=f"dataset {comparison.name}", title_justify="left")
    for heading in ("", "recorded", "made again", "same"):
        table.add_column(heading, overflow="fold")
    was, now = comparison.was, comparison.now
    pairs = [(name, getattr(was, name), getattr(now, name)) for name in ("sha256", "rows", "duplicates", "filtered")]
    pairs += [(f"feature {a.name}", a.sha256, b.sha256) for a, b in zip(was.features, now.features, strict=True)]
    kept = {part.range for part in comparison.same_parts}
    for name, before, after in pairs:
        table.add_row(name, _short(before), _short(after), "yes" if before == after else "no")
    for part in was.parts:
        table.add_row(name_of(part.range), f"{part.rows:,} rows", "", "yes" if part.range in kept else "no")
    return table
