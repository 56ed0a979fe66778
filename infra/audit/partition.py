"""A partition, by the name under which its checkpoints go."""

from typing import NamedTuple

from schemas.topics import TOPICS

AUDIT = "audit"


class Partition(NamedTuple):
    """One partition of a topic, without prefix."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Partition":
        """Read `topic/partition`."""
        topic, _, number = text.rpartition("/")
        return cls(topic, int(number))


def followed() -> tuple[str, ...]:
    """Topics that get checkpoints: all that hold events, but the one that holds the checkpoints."""
    return tuple(name for name, topic in TOPICS.items() if topic.kind != "commands" and name != AUDIT)
