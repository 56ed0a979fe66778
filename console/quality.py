"""`retrace quality`: how good the models are on public data, beside what others have published."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from console.movielens import folder_of
from inference.quality.formats import Data, found
from inference.quality.quality import rows_of
from infra.settings import Settings

COLUMNS = ("recall@20", "ndcg@20", "hr@10", "ndcg@10", "coverage@10", "novelty@10")

screen = Console()
progress = Console(stderr=True)


def quality(
    data: Annotated[Path | None, typer.Option(help="folder or file; MovieLens-100K when left out")] = None,
    sasrec: Annotated[bool, typer.Option("--sasrec", help="train SASRec as well; takes minutes and torch")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="rows with every number, as JSON")] = False,
) -> None:
    """Choose, fit and measure every model by the protocol of the data, beside published tables."""
    rows: list[dict[str, Any]] = []
    with progress.status("reading") as status:
        for one in found(data) if data is not None else [_movielens()]:
            rows += rows_of(one, status.update, sequence_model=sasrec)
    if as_json:
        screen.out(orjson.dumps({"rows": rows}, option=orjson.OPT_INDENT_2).decode(), highlight=False)
        return
    for name in dict.fromkeys(row["dataset"] for row in rows):
        _show(name, [row for row in rows if row["dataset"] == name])


def _movielens() -> Data:
    return found(folder_of(Settings().cache_dir) / "ml-100k.inter")[0]


def _show(name: str, rows: list[dict[str, Any]]) -> None:
    says = next(row["protocol"] for row in rows if row["ours"])
    screen.print(f"[bold]{name}[/]: {says}")
    table = Table("model", "of", *COLUMNS, "fit")
    for row in rows:
        _add(table, row, row["model"])
        segments = row.get("segments", {})
        for segment, numbers in segments.items() if len(segments) > 1 else ():
            _add(table, numbers | {"ours": True}, f"  {segment}: {numbers['users']}")
    screen.print(table)
    for row in rows:
        if row["ours"]:
            chosen = ", ".join(f"{key}={value}" for key, value in row["params"].items())
            screen.print(f"{row['model']}: {chosen}", highlight=False)
    for source in dict.fromkeys(row["source"] for row in rows if not row["ours"]):
        screen.print(f"others: {source}", highlight=False)


def _add(table: Table, row: dict[str, Any], name: str) -> None:
    cells = [f"{row[column]:.4f}" if column in row else "" for column in COLUMNS]
    fit = f"{row['fit_s']:.1f} s" if "fit_s" in row else ""
    table.add_row(name, "ours" if row["ours"] else "others", *cells, fit, style="bold" if "params" in row else None)
