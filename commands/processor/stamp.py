"""What a snapshot depends on beside the log: a fingerprint of the code that made it and of the contracts it read."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, get_type_hints

import commands.protocol.state
import schemas.codec
from commands.aggregate import Aggregate
from schemas.contracts import contracts

FORMAT = 1
"""Of the file; to be raised when its tables change their meaning."""
OURS = ("commands", "schemas")


def state_type(aggregate: Aggregate[Any, Any, Any]) -> Any:
    """What `evolve` says it returns, which may be a union; else what the initial state is."""
    return get_type_hints(aggregate.evolve).get("return", type(aggregate.initial))


def stamp_of(aggregate: Aggregate[Any, Any, Any]) -> str:
    """Differs as soon as anything of ours that decides what a fold comes to is another.

    That is the source of the aggregate, of the fold and of the codec with whatever they import, and the contracts of
    the events. It may differ more often than needed: then the log is read once more.
    """
    digest = blake2b(f"{FORMAT} {aggregate.topic} {state_type(aggregate)!r}".encode(), digest_size=16)
    roots = (aggregate.evolve.__module__, commands.protocol.state.__name__, schemas.codec.__name__)
    for name, source in sorted(_sources(roots)):
        digest.update(f"\0{name}\0{source}".encode())
    for name, contract in sorted(contracts().items()):
        if contract.kind == "event" and contract.topic in (aggregate.topic, None):
            digest.update(f"\0{name}\0{contract.json}".encode())
    return digest.hexdigest()


def _sources(roots: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Modules of ours that are imported from `roots`, however indirectly, and their source."""
    seen, waiting = set(roots), list(roots)
    while waiting:
        name = waiting.pop()
        source = inspect.getsource(importlib.import_module(name))
        yield name, source
        found = set(_imported(source)) - seen
        seen |= found
        waiting += sorted(found)


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if _is_ours(alias.name))
            case ast.ImportFrom(module=str(module), level=0) if _is_ours(module):
                yield module


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS
