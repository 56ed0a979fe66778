"""Reading Pact files and judging answers by them.

The files have the form of the Pact specification, version 3. Of its matching rules we use one: an answer has at least
the fields of the example, each of the same type; every element of an array looks like the first of the example.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "pacts"


@dataclass(frozen=True)
class Interaction:
    """One request of a consumer and what it needs of the answer."""

    description: str
    states: tuple[str, ...]
    request: dict[str, Any]
    response: dict[str, Any]

    @property
    def method(self) -> str:
        """Of the request."""
        return str(self.request["method"])

    @property
    def path(self) -> str:
        """Of the request, without query."""
        return str(self.request["path"])

    @property
    def query(self) -> dict[str, str]:
        """Of the request."""
        return {name: values[0] for name, values in self.request.get("query", {}).items()}

    @property
    def body(self) -> bytes | None:
        """Of the request: text as it is, anything else as JSON."""
        body = self.request.get("body")
        if body is None or isinstance(body, str):
            return None if body is None else body.encode()
        return json.dumps(body).encode()

    @property
    def headers(self) -> dict[str, str]:
        """Of the request."""
        kind = {"content-type": "application/json"} if not isinstance(self.request.get("body"), str | None) else {}
        return {**kind, **self.request.get("headers", {})}


@dataclass(frozen=True)
class Pact:
    """What one consumer needs of one provider."""

    consumer: str
    provider: str
    interactions: tuple[Interaction, ...]


def pacts() -> Iterator[Pact]:
    """Every file."""
    for path in sorted(FOLDER.glob("*.json")):
        document = json.loads(path.read_text())
        interactions = tuple(
            Interaction(
                one["description"],
                tuple(state["name"] for state in one.get("providerStates", ())),
                one["request"],
                one["response"],
            )
            for one in document["interactions"]
        )
        yield Pact(document["consumer"]["name"], document["provider"]["name"], interactions)


def pact(consumer: str, provider: str) -> Pact:
    """One file."""
    return next(one for one in pacts() if (one.consumer, one.provider) == (consumer, provider))


def faults(wanted: Any, got: Any, where: str = "$") -> Iterator[str]:
    """Where an answer is not what the consumer needs."""
    match wanted:
        case dict():
            if not isinstance(got, dict):
                yield f"{where} is no object"
                return
            for name, value in wanted.items():
                if name not in got:
                    yield f"{where}.{name} is missing"
                else:
                    yield from faults(value, got[name], f"{where}.{name}")
        case [first, *_]:
            if not isinstance(got, list) or not got:
                yield f"{where} is no array with elements"
                return
            for index, value in enumerate(got):
                yield from faults(first, value, f"{where}[{index}]")
        case float():
            if not isinstance(got, int | float):
                yield f"{where} is no number"
        case _:
            if type(wanted) is not type(got):
                yield f"{where} is {type(got).__name__}, not {type(wanted).__name__}"
