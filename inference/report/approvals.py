"""What the log says of the approval of a deployment: the policy, what was shown, and what people said to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Policy:
    """How many people have to approve, from its event on."""

    approvals: int
    requester_may_approve: bool
    timeout_s: int
    reason: str
    set_by: str
    at: datetime
    position: str


@dataclass(frozen=True)
class Request:
    """That people were asked to approve, and what they were shown."""

    evidence: Mapping[str, Mapping[str, str]]
    evidence_sha256: str
    position: str


@dataclass(frozen=True)
class Approval:
    """That somebody approved, of what, and on what.

    Attributes:
        is_late: whether the version had been promoted before.
    """

    by: str
    at: datetime
    comment: str
    artifact_sha256: str
    evidence_sha256: str
    position: str
    is_late: bool


@dataclass(frozen=True)
class Refusal:
    """That somebody declined."""

    by: str
    at: datetime
    reason: str
    position: str
