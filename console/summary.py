"""What a verb does, in its own words, without importing it: the list of all verbs is to come at once."""

import ast
from importlib.util import find_spec
from pathlib import Path


def summary(place: str) -> str:
    """The help of a command, or of a group of commands, as its file says it.

    Args:
        place: `module:name` of a function with a docstring, or of a `typer.Typer` with `help`.

    Raises:
        LookupError: there is no such thing, or it says nothing.
    """
    module, _, name = place.partition(":")
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(f"there is no module {module}")
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=found) if found == name and (said := ast.get_docstring(node)):
                return said
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Call(keywords=keywords)) if found == name:
                for keyword in keywords:
                    if keyword.arg == "help" and isinstance(keyword.value, ast.Constant):
                        return str(keyword.value.value)
    raise LookupError(f"{place} says nothing of itself")
