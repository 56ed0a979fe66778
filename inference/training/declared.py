"""The algorithms as `schemas/algorithms.json` publishes them, for services that may not know the models themselves.

`python -m inference.training.declared` writes the file; with `--check` it exits 1 when the file is stale.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

import inference.models
from inference.model import Model
from infra.discover import discover
from schemas.algorithms import FILE


def text() -> str:
    """What the file has to hold."""
    declared = discover(inference.models, Model)
    found = {name: {"params": _params(declared[name])} for name in sorted(declared)}
    return json.dumps(found, indent=1) + "\n"


def _params(model: Model[Any, Any]) -> dict[str, dict[str, Any]]:
    defaults: dict[str, Any] = dataclasses.asdict(model.params)
    return {
        name: {"type": "int" if isinstance(value, int) else "float", "default": value}
        for name, value in defaults.items()
    }


def main(arguments: Sequence[str]) -> int:
    """Write the file, or say whether it is stale."""
    if "--check" not in arguments:
        FILE.write_text(text())
    elif FILE.read_text() != text():
        sys.stderr.write(f"{FILE.name} is stale: run `python -m inference.training.declared`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
