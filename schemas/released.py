"""The contracts as they were released, so that a build refuses a change that some version's readers could not read.

`python -m schemas.released` says which contracts may not follow those of `released.json`, and exits 1 when there is
one; with `--write` it adds today's to the file, which is done for each release. The registry judges the same way when
a service starts; this needs no registry.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.compatibility import Level, faults
from schemas.contracts import Contract, contracts

FILE = Path(__file__).parent / "released.json"

Released = dict[str, list[Mapping[str, Any]]]
"""Schemas of each record by full name, the oldest first."""

SILENT = frozenset({"doc"})
"""Attributes that bind nobody."""


def refused(released: Released, today: Mapping[str, Contract]) -> Iterator[str]:
    """Why contracts may not follow those that were released; each line names the record and the field."""
    for name, schemas in released.items():
        if name not in today:
            yield f'{name} was released and is gone: keep it with "retired": true, logs hold such records'
            continue
        earlier = [(f"release {number}", json.dumps(schema)) for number, schema in enumerate(schemas, start=1)]
        for fault in faults(today[name].json, earlier, Level.FULL_TRANSITIVE):
            yield f"{name}: {fault}"


def extended(released: Released, today: Mapping[str, Contract]) -> Released:
    """The same with what has changed since."""
    found = {name: list(schemas) for name, schemas in released.items()}
    for name, contract in today.items():
        schema = _bare(json.loads(contract.json))
        if schema not in found.setdefault(name, []):
            found[name].append(schema)
    return dict(sorted(found.items()))


def _bare(schema: Any) -> Any:
    match schema:
        case dict():
            return {name: _bare(value) for name, value in schema.items() if name not in SILENT}
        case list():
            return [_bare(value) for value in schema]
        case _:
            return schema


def main(arguments: Sequence[str]) -> int:
    """Judge today's contracts; add them to the file with `--write` when none is refused."""
    released: Released = json.loads(FILE.read_text())
    faulty = list(refused(released, contracts()))
    for fault in faulty:
        sys.stderr.write(f"{fault}\n")
    if "--write" in arguments and not faulty:
        FILE.write_text(json.dumps(extended(released, contracts()), indent=1) + "\n")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
