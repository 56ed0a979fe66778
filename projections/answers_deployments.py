"""What the query API answers about deployments and their approval, for its OpenAPI document."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class Approval(BaseModel):
    """That one person approved a deployment."""

    approver: str
    at: datetime
    comment: str
    artifact_sha256: str
    evidence_sha256: str = Field(description="of the evidence that the approver was shown")
    position: str = Field(description="where the approval stands in the log")


class ApprovalPolicy(BaseModel):
    """What lets a version of a model serve."""

    model: str
    approvals: int = Field(description="how many different people have to approve; 0: nobody")
    requester_may_approve: bool
    timeout_s: int = Field(description="how long a loaded version waits for them")
    reason: str
    set_by: str | None = Field(description="null when nobody has set one")
    set_at: datetime | None


class Deployment(BaseModel):
    """A deployment and how far it has come."""

    deployment_id: str
    model: str
    version: int | None
    artifact_sha256: str | None
    step: Literal[
        "requested",
        "validated",
        "loaded",
        "awaiting_approval",
        "approved",
        "promoted",
        "completed",
        "aborted",
        "rolled_back",
    ]
    rollback_to: int | None
    requested_by: str | None
    requested_at: datetime | None
    updated_at: datetime
    reason: str | None
    evidence: dict[str, dict[str, str]] = Field(description="by step: what was checked, and what came out")
    approvals_wanted: int | None = Field(description="how many people have to approve, by the policy at its request")
    requester_may_approve: bool | None
    approve_until: datetime | None = Field(description="when it is given up for want of approvals")
    evidence_sha256: str | None = Field(description="what an approval has to name, once approvals are asked for")
    approvals: list[Approval]
    declined_by: str | None
