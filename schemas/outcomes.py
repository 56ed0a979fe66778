"""Generated from schemas/avro/outcomes; change those files and run `python -m schemas.generate`."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAccepted:
    """A command was right and changed nothing.

    Attributes:
        command_id: The command.
        command_type: Type of the command.
    """

    AVRO: ClassVar[str] = "retrace.outcomes.CommandAccepted"

    command_id: str
    command_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRejected:
    """A command was refused.

    Attributes:
        command_id: The command.
        command_type: Type of the command.
        code: Stable name of the reason.
        detail: What is wrong and what to do.
        status: HTTP status of the answer.
    """

    AVRO: ClassVar[str] = "retrace.outcomes.CommandRejected"

    command_id: str
    command_type: str
    code: str
    detail: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRepeated:
    """A command came again with an id that had been answered; the first answer holds.

    Attributes:
        command_id: The command.
        command_type: Type of the command.
        same_body: Whether the command said the same as the first time.
        first_offset: Where the first answer stands in this partition.
        version: Version of the aggregate after the first answer.
        code: Reason, when the first answer was a refusal.
        detail: What was wrong, when the first answer was a refusal.
        status: HTTP status of the first answer.
    """

    AVRO: ClassVar[str] = "retrace.outcomes.CommandRepeated"

    command_id: str
    command_type: str
    same_body: bool
    first_offset: int
    version: int
    code: str | None = None
    detail: str | None = None
    status: int


OutcomesEvent: TypeAlias = CommandAccepted | CommandRejected | CommandRepeated
