"""Write the frozen classes of `schemas/<context>.py` from the `.avsc` files.

`python -m schemas.generate` writes them, `python -m schemas.generate --check` exits 1 when they are stale.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import Any

from schemas.contracts import AVRO_FOLDER, Contract, check_roles, read
from schemas.topics import named

WIDTH = 120
"""Of a line of Python."""

PRIMITIVES = {
    "null": "None",
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "bytes": "bytes",
    "string": "str",
}


class Module:
    """The Python text of one context."""

    def __init__(self, context: str, contracts: Sequence[Contract]) -> None:
        self.context = context
        self.contracts = contracts
        self._nested: dict[str, str] = {}

    def text(self) -> str:
        """The whole module."""
        classes = [self._class(c.schema, c.full_name) for c in self.contracts]
        unions = list(self._unions())
        source = f"schemas/avro/{self.context}"
        header = f'"""Generated from {source}; change those files and run `python -m schemas.generate`."""\n'
        imports = (
            "from collections.abc import Mapping\n"
            "from dataclasses import dataclass, field\n"
            "from datetime import datetime\n"
            "from typing import ClassVar, Literal, TypeAlias\n"
        )
        return "\n\n".join([header, imports, *self._nested.values(), *classes, *unions]) + "\n"

    def _class(self, schema: Mapping[str, Any], full_name: str) -> str:
        lines = ["@dataclass(frozen=True, slots=True, kw_only=True)", f"class {schema['name']}:"]
        lines += self._docstring(schema)
        lines += ["", f'    AVRO: ClassVar[str] = "{full_name}"', ""]
        lines += [self._field(field) for field in schema["fields"]]
        return "\n".join(lines)

    def _docstring(self, schema: Mapping[str, Any]) -> list[str]:
        texts = [f"{field['name']}: {field['doc']}" for field in schema["fields"]]
        attributes = [
            line
            for text in texts
            for line in wrap(text, WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 12, break_on_hyphens=False)
        ]
        return [f'    """{schema["doc"]}', "", "    Attributes:", *attributes, '    """']

    def _field(self, field: Mapping[str, Any]) -> str:
        python = self._type(field["type"])
        if "default" not in field:
            return f"    {field['name']}: {python}"
        default = field["default"]
        if default == {}:
            return f"    {field['name']}: {python} = field(default_factory=dict)"
        literal = "()" if default == [] else repr(default)
        return f"    {field['name']}: {python} = {literal}"

    def _type(self, schema: Any) -> str:
        if isinstance(schema, list):
            return " | ".join(sorted((self._type(s) for s in schema), key=lambda t: t == "None"))
        if isinstance(schema, str):
            return PRIMITIVES.get(schema) or schema.rsplit(".", 1)[-1]
        match schema["type"]:
            case "array":
                return f"tuple[{self._type(schema['items'])}, ...]"
            case "map":
                return f"Mapping[str, {self._type(schema['values'])}]"
            case "enum":
                return f"Literal[{', '.join(repr(s) for s in schema['symbols'])}]"
            case "record":
                namespace = schema.get("namespace", f"retrace.{self.context}")
                self._nested.setdefault(schema["name"], self._class(schema, f"{namespace}.{schema['name']}"))
                return str(schema["name"])
            case primitive if schema.get("logicalType") == "timestamp-micros":
                return "datetime"
            case primitive:
                return PRIMITIVES[primitive]

    def _unions(self) -> Iterator[str]:
        for kind in ("event", "command"):
            names = [c.name for c in self.contracts if c.kind == kind and not c.is_retired]
            if names:
                yield f"{self.context.capitalize()}{kind.capitalize()}: TypeAlias = {' | '.join(names)}"


def modules() -> Iterator[tuple[Path, str]]:
    """Path and text of each generated module.

    Raises:
        ValueError: a contract names no role that may send it, or a topic where it cannot stand.
    """
    folder = AVRO_FOLDER.parent
    every = sorted(map(check_roles, read(AVRO_FOLDER)), key=lambda c: c.context)  # a folder and a file may share it
    named(every)
    for context, group in groupby(every, key=lambda c: c.context):
        yield folder / f"{context}.py", _formatted(Module(context, list(group)).text())


def _formatted(text: str) -> str:
    for command in (["check", "--fix", "--quiet", "--select=I,F401"], ["format"]):
        arguments = [sys.executable, "-m", "ruff", *command, "--stdin-filename=schemas/generated.py", "-"]
        text = subprocess.run(arguments, input=text, capture_output=True, text=True, check=True).stdout
    return text


def main(arguments: Sequence[str]) -> int:
    """Write the modules, or with `--check` say which are stale."""
    stale = [(path, text) for path, text in modules() if not path.is_file() or path.read_text() != text]
    if "--check" in arguments:
        for path, _ in stale:
            sys.stderr.write(f"{path.name} is stale: run python -m schemas.generate\n")
        return 1 if stale else 0
    for path, text in stale:
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
