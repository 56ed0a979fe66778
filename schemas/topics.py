"""The topics: which exist, who may write them, how long they keep."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from schemas.contracts import contracts

COMMANDS_SUFFIX = ".commands"


@dataclass(frozen=True)
class Topic:
    """A topic's declaration.

    Attributes:
        name: name without prefix.
        kind: `decided`: one writer per partition, an event counts only where its writer expected it to stand;
            `facts`: many writers, every record counts; `commands`: what waits for a decision.
    """

    name: str
    kind: Literal["decided", "facts", "commands"]

    @property
    def is_decided(self) -> bool:
        """Whether the rule of the offset-checked append applies."""
        return self.kind == "decided"

    @property
    def commands(self) -> str:
        """Name of the command topic beside a decided topic."""
        return self.name + COMMANDS_SUFFIX


DECIDED = tuple(dict.fromkeys(c.topic for c in contracts().values() if c.kind == "command" and c.topic is not None))
"""Those that any contract names for a command; the events beside them are decided."""
FACTS = tuple(dict.fromkeys(c.topic for c in contracts().values() if c.topic is not None and c.topic not in DECIDED))

TOPICS: Mapping[str, Topic] = MappingProxyType(
    {name: Topic(name, "decided") for name in DECIDED}
    | {name + COMMANDS_SUFFIX: Topic(name + COMMANDS_SUFFIX, "commands") for name in DECIDED}
    | {name: Topic(name, "facts") for name in FACTS}
)
