"""The topics: which exist, and who may write them. The contracts alone say it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from schemas.contracts import Contract, contracts

COMMANDS_SUFFIX = ".commands"
LEGAL = re.compile("[a-z][a-z0-9-]{0,99}")


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


def named(by: Iterable[Contract]) -> Mapping[str, Topic]:
    """The topics that contracts name. Those that take commands are decided, with the commands beside them.

    Raises:
        ValueError: Kafka would refuse the name, or an event is a fact exactly where its topic is decided.
    """
    every = [(contract.topic, contract) for contract in by if contract.topic is not None]
    decided = dict.fromkeys(topic for topic, contract in every if contract.kind == "command")
    topics = {name: Topic(name, "decided") for name in decided}
    topics |= {topic.commands: Topic(topic.commands, "commands") for topic in topics.values()}
    for name, contract in every:
        _check(name, contract, is_decided=name in decided)
        topics.setdefault(name, Topic(name, "facts"))
    return MappingProxyType(topics)


def _check(topic: str, contract: Contract, *, is_decided: bool) -> None:
    if not LEGAL.fullmatch(topic):
        raise ValueError(f"{contract.full_name}: '{topic}' is no topic: use a-z, 0-9 and hyphens, 100 at most")
    if contract.kind == "command" or contract.is_retired or contract.is_fact != is_decided:
        return
    if is_decided:
        raise ValueError(f"{contract.full_name} is a fact, and '{topic}' takes commands: name a topic of facts")
    raise ValueError(
        f"{contract.full_name} stands on '{topic}', which takes no command: correct its topic or that of its commands, "
        'or say "fact": true'
    )


TOPICS: Mapping[str, Topic] = named(contracts().values())
DECIDED = tuple(topic.name for topic in TOPICS.values() if topic.kind == "decided")
FACTS = tuple(topic.name for topic in TOPICS.values() if topic.kind == "facts")
