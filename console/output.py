"""How results are told: tables for people, JSON for programs."""

from collections.abc import Collection
from typing import Annotated, Any, Literal, TypeAlias

import orjson
import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

Output: TypeAlias = Literal["table", "json"]
OutputOption: TypeAlias = Annotated[Output, typer.Option("--output", "-o", help="form of the result")]


def as_json(document: Any) -> str:
    """For programs; times and UUIDs as ISO 8601 and RFC 9562 write them, dataclasses as their fields."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def grid(*names: str, title: str | None = None, whole: Collection[str] = (), numbers: Collection[str] = ()) -> Table:
    """A table that cuts nothing off, because what it shows is copied into the next command.

    Args:
        names: of its columns.
        whole: columns whose cells never break; the others go on in their next line where room is short.
        numbers: columns that stand to the right.
    """
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), title=title)
    table.title_justify = "left"
    for name in names:
        justify: Literal["left", "right"] = "right" if name in numbers else "left"
        table.add_column(name, overflow="fold", no_wrap=name in whole, justify=justify)
    return table
