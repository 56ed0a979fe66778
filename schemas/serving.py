"""Generated from schemas/avro/serving; change those files and run `python -m schemas.generate`."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class LostAnswer:
    """An answer that was given and not recorded, or not for certain.

    Attributes:
        sequence: Its sequence number.
        decision_id: Decision, as the caller got it.
        cause: shed: the queue was full; refused: it does not fit its schema; died: the record was on its way.
    """

    AVRO: ClassVar[str] = "retrace.serving.LostAnswer"

    sequence: int
    decision_id: str
    cause: Literal["shed", "refused", "died", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersReported:
    """Which of the answers that a server has given are settled, and which of them were not recorded.

    Attributes:
        server: Server and start, as on the records of its answers.
        sequence: Answers up to this number are on record or were lost; in the last word, the highest that was handed
            out.
        lost: Answers that were not recorded and have not been reported before.
        reported_at: When.
        end: running: it goes on; stopped: its last word; died: it had none, and left a file that says this.
        by: Server that says it.
    """

    AVRO: ClassVar[str] = "retrace.serving.AnswersReported"

    server: str
    sequence: int
    lost: tuple[LostAnswer, ...] = ()
    reported_at: datetime
    end: Literal["running", "stopped", "died", "unknown"]
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStarted:
    """A server began to answer; from now on it numbers its answers.

    Attributes:
        server: Server and start, as on the records of its answers.
        started_at: When.
    """

    AVRO: ClassVar[str] = "retrace.serving.ServerStarted"

    server: str
    started_at: datetime


ServingEvent: TypeAlias = AnswersReported | ServerStarted
