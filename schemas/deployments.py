"""Generated from schemas/avro/deployments; change those files and run `python -m schemas.generate`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPolicySet:
    """From here on a deployment of the model needs so many approvals.

    Attributes:
        model: Name under which versions are registered and served.
        approvals: How many different people; 0 means nobody.
        requester_may_approve: Whether the one who asked for a deployment counts among those who approve it.
        timeout_s: How long a loaded version waits for its approvals before it is given up, in seconds.
        reason: Why.
        set_by: Who set it.
    """

    AVRO: ClassVar[str] = "retrace.deployments.ApprovalPolicySet"

    model: str
    approvals: int
    requester_may_approve: bool = False
    timeout_s: int = 604800
    reason: str = ""
    set_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequested:
    """The version is loaded, and waits for people who look at this evidence and let it serve.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        version: Version to deploy.
        artifact_sha256: Hash of the ONNX file.
        approvals_wanted: How many different people have to approve before it may serve; 0 means nobody.
        requester_may_approve: Whether the one who asked for a deployment counts among those who approve it.
        timeout_s: How long a loaded version waits for its approvals before it is given up, in seconds.
        evidence: By step: what was checked, and what came out.
        evidence_sha256: SHA-256 of the evidence as canonical JSON (`schemas/evidence.py`).
    """

    AVRO: ClassVar[str] = "retrace.deployments.ApprovalRequested"

    model: str
    deployment_id: str
    version: int
    artifact_sha256: str
    approvals_wanted: int
    requester_may_approve: bool = False
    timeout_s: int
    evidence: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    evidence_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveDeployment:
    """Let a loaded version serve, as far as this person is asked; of exactly this artifact, on exactly this evidence.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        artifact_sha256: Hash of the ONNX file that was looked at; another than the deployment's is refused.
        evidence_sha256: SHA-256 of the evidence that was looked at, as the deployment shows it; another than what
            stands is refused.
        comment: What the approver has to say.
    """

    AVRO: ClassVar[str] = "retrace.deployments.ApproveDeployment"

    model: str
    deployment_id: str
    artifact_sha256: str
    evidence_sha256: str
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclineDeployment:
    """Refuse to let a version serve; the deployment is given up.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeclineDeployment"

    model: str
    deployment_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentAborted:
    """The deployment was given up; what it loaded has yet to be unloaded.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        step: How far it had come.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentAborted"

    model: str
    deployment_id: str
    step: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentApproved:
    """Somebody who may has looked at this evidence and approves; with the last approval wanted the version may serve.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        version: Version to deploy.
        artifact_sha256: Hash of the ONNX file.
        evidence_sha256: SHA-256 of the evidence that the approver saw: that of ApprovalRequested.
        approver: Who approved.
        comment: What the approver had to say.
        approvals: How many there are with this one, each of another person.
        approvals_wanted: How many different people have to approve before it may serve; 0 means nobody.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentApproved"

    model: str
    deployment_id: str
    version: int
    artifact_sha256: str
    evidence_sha256: str
    approver: str
    comment: str = ""
    approvals: int
    approvals_wanted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentCompleted:
    """The version serves alone: the one before is unloaded.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        evidence: What was unloaded where.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentCompleted"

    model: str
    deployment_id: str
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentDeclined:
    """Somebody who may approve has refused; the deployment is given up.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        version: Version to deploy.
        artifact_sha256: Hash of the ONNX file.
        evidence_sha256: SHA-256 of the evidence that stood then; empty before there was any to judge.
        declined_by: Who refused.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentDeclined"

    model: str
    deployment_id: str
    version: int
    artifact_sha256: str
    evidence_sha256: str = ""
    declined_by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentLoaded:
    """Every Triton has the version loaded and warmed up, beside the old one.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        evidence: Server and warm-up times.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentLoaded"

    model: str
    deployment_id: str
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPromoted:
    """The version serves from here on.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        version: Version to deploy.
        artifact_sha256: Hash of the ONNX file.
        previous: The version that served before.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentPromoted"

    model: str
    deployment_id: str
    version: int
    artifact_sha256: str
    previous: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRequested:
    """A version was asked to become the one that serves.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        version: Version to deploy.
        artifact_sha256: Hash of the ONNX file.
        rollback_to: The version that served when the deployment began, and serves again if it fails.
        requested_by: Who asked.
        approvals_wanted: How many different people have to approve before it may serve; 0 means nobody.
        requester_may_approve: Whether the one who asked for a deployment counts among those who approve it.
        approval_timeout_s: How long a loaded version waits for its approvals before it is given up, in seconds.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentRequested"

    model: str
    deployment_id: str
    version: int
    artifact_sha256: str
    rollback_to: int | None = None
    requested_by: str
    approvals_wanted: int = 0
    requester_may_approve: bool = False
    approval_timeout_s: int = 604800


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRolledBack:
    """The deployment left nothing behind; the version before it serves.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        version: Version to deploy.
        serving: The version that serves.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentRolledBack"

    model: str
    deployment_id: str
    version: int
    serving: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentValidated:
    """The artifact's hash, signature and golden requests are as they should be.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        evidence: What was checked, and what came out.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentValidated"

    model: str
    deployment_id: str
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteDeployment:
    """Let the loaded version serve.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
    """

    AVRO: ClassVar[str] = "retrace.deployments.PromoteDeployment"

    model: str
    deployment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLoading:
    """The worker has loaded the version on every Triton, beside the old one.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        ok: Whether the step succeeded.
        evidence: What was checked, and what came out.
        reason: Why it failed.
    """

    AVRO: ClassVar[str] = "retrace.deployments.ReportLoading"

    model: str
    deployment_id: str
    ok: bool
    evidence: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportUnloading:
    """The worker has unloaded what is no longer wanted.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        evidence: What was unloaded where.
    """

    AVRO: ClassVar[str] = "retrace.deployments.ReportUnloading"

    model: str
    deployment_id: str
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportValidation:
    """The worker has checked the artifact.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        ok: Whether the step succeeded.
        evidence: What was checked, and what came out.
        reason: Why it failed.
    """

    AVRO: ClassVar[str] = "retrace.deployments.ReportValidation"

    model: str
    deployment_id: str
    ok: bool
    evidence: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDeployment:
    """Ask for a version to become the one that serves.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        version: Version to deploy.
        artifact_sha256: Hash of the ONNX file.
    """

    AVRO: ClassVar[str] = "retrace.deployments.RequestDeployment"

    model: str
    deployment_id: str
    version: int
    artifact_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBackDeployment:
    """Give the deployment up.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        step: Only while the deployment stands at this step; null means at any.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.deployments.RollBackDeployment"

    model: str
    deployment_id: str
    step: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetApprovalPolicy:
    """Say how many people have to approve a deployment before it may serve; for those asked for from then on.

    Attributes:
        model: Name under which versions are registered and served.
        approvals: How many different people; 0 means nobody, as before there was a policy.
        requester_may_approve: Whether the one who asked for a deployment counts among those who approve it.
        timeout_s: How long a loaded version waits for its approvals before it is given up, in seconds.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.deployments.SetApprovalPolicy"

    model: str
    approvals: int
    requester_may_approve: bool = False
    timeout_s: int = 604800
    reason: str = ""


DeploymentsEvent: TypeAlias = (
    ApprovalPolicySet
    | ApprovalRequested
    | DeploymentAborted
    | DeploymentApproved
    | DeploymentCompleted
    | DeploymentDeclined
    | DeploymentLoaded
    | DeploymentPromoted
    | DeploymentRequested
    | DeploymentRolledBack
    | DeploymentValidated
)

DeploymentsCommand: TypeAlias = (
    ApproveDeployment
    | DeclineDeployment
    | PromoteDeployment
    | ReportLoading
    | ReportUnloading
    | ReportValidation
    | RequestDeployment
    | RollBackDeployment
    | SetApprovalPolicy
)
