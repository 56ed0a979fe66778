"""The algorithms that a training run may ask for, with their hyper-parameters.

`algorithms.json` is written from the declarations (`python -m inference.training.declared`), so that who takes the
command can refuse what no trainer could fit, without knowing the models.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

FILE = Path(__file__).parent / "algorithms.json"

NUMBERS: Mapping[str, str] = {
    "int": "^[+-]?[0-9]{1,15}$",
    "float": "^[+-]?[0-9]{1,15}([.][0-9]{1,15})?([eE][+-]?[0-9]{1,2})?$",
}
"""How a parameter is written, by its type."""

Fault: TypeAlias = tuple[tuple[str, ...], str]
"""Where it is in the command, and what is wrong."""


@cache
def algorithms() -> Mapping[str, Mapping[str, Any]]:
    """By name: the type and the default of each parameter."""
    held = json.loads(FILE.read_text())
    return MappingProxyType({name: MappingProxyType(said["params"]) for name, said in held.items()})


def faults(algorithm: str, params: Mapping[str, str]) -> Sequence[Fault]:
    """What is wrong with a request to fit."""
    known = algorithms().get(algorithm)
    if known is None:
        near = get_close_matches(algorithm, algorithms(), n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(sorted(algorithms()))}"
        return [(("algorithm",), f"there is no algorithm '{algorithm[:100]}': {hint}")]
    return list(_of_params(algorithm, known, params))


def _of_params(algorithm: str, known: Mapping[str, Any], params: Mapping[str, str]) -> Iterator[Fault]:
    for name, text in params.items():
        if name not in known:
            there = f"has {', '.join(known)}" if known else "has none"
            yield ("params", name), f"is no parameter of {algorithm}, which {there}"
        elif not re.fullmatch(NUMBERS[known[name]["type"]], text):
            kind = "whole number" if known[name]["type"] == "int" else "number"
            yield ("params", name), f"must be a {kind} as text, such as '{known[name]['default']}', not '{text[:100]}'"
