"""How results are told: tables for people, JSON for programs."""

from typing import Annotated, Any, Literal, TypeAlias

import orjson
import typer

Output: TypeAlias = Literal["table", "json"]
OutputOption: TypeAlias = Annotated[Output, typer.Option("--output", "-o", help="form of the result")]


def as_json(document: Any) -> str:
    """For programs; times and UUIDs as ISO 8601 and RFC 9562 write them, dataclasses as their fields."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
