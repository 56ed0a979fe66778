"""Where an event stands: its identity."""

from dataclasses import dataclass
from typing import Self

from schemas.errors import Invalid

LAST_OFFSET = 2**63 - 1
"""The highest offset that Kafka can count to."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the log.

    Attributes:
        topic: name without prefix.
        partition: partition of the topic.
        offset: offset in the partition.
    """

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `topic/partition/offset`.

        Raises:
            Invalid: the text has another form.
        """
        topic, _, rest = text.partition("/")
        partition, _, offset = rest.partition("/")
        if not (topic and partition.isdecimal() and offset.isdecimal() and int(offset) <= LAST_OFFSET):
            raise Invalid(
                f"'{text}' is no position: write it as topic/partition/offset, as answers give it",
                code="bad_position",
            )
        return cls(topic, int(partition), int(offset))
