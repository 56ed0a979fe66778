"""Who may let a version serve: the rules of approving, apart from the steps of a deployment.

Everything here is pure, and speaks of one deployment that stands somewhere on its way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from schemas.deployments import ApproveDeployment, DeploymentApproved
from schemas.errors import Rejected

Step: TypeAlias = Literal[
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

WAIT_S = 604_800
"""How long a loaded version waits for approvals when no policy says otherwise: a week."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What lets a version of a model serve.

    Attributes:
        approvals: how many different people have to approve; 0 means nobody.
        requester_may_approve: whether whoever asked for a deployment counts among them.
        timeout_s: how long a loaded version waits for them, in seconds.
    """

    approvals: int = 0
    requester_may_approve: bool = False
    timeout_s: int = WAIT_S


@dataclass(frozen=True, slots=True)
class Approval:
    """That one person approved."""

    approver: str
    comment: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment.

    Attributes:
        version: version to deploy.
        artifact_sha256: hash of its ONNX file.
        rollback_to: version that served when it began.
        requested_by: who asked for it.
        policy: that of its model when it was asked for.
        step: how far it has come.
        reason: why it was aborted.
        evidence: by step, what was found; kept until approval is asked for on it.
        evidence_sha256: hash of the evidence that approvers are shown; empty before there is any.
        approvals: those given, each by another person.
        declined_by: who refused; empty when nobody did.
    """

    version: int
    artifact_sha256: str
    rollback_to: int | None
    requested_by: str = ""
    policy: Policy = Policy()
    step: Step = "requested"
    reason: str = ""
    evidence: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    evidence_sha256: str = ""
    approvals: tuple[Approval, ...] = ()
    declined_by: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.step in ("completed", "rolled_back")

    @property
    def lacks(self) -> int:
        """How many approvals it still wants."""
        return max(0, self.policy.approvals - len(self.approvals))


def approve(deployment: Deployment, command: ApproveDeployment, approver: str) -> Sequence[DeploymentApproved]:
    """What an approval leads to; said twice in the same words, it is meant once.

    Raises:
        Rejected: nothing is to be approved, something else was looked at, or this person does not count.
    """
    if _said_before(deployment, command, approver):
        return []
    _check_step(deployment, command.deployment_id)
    _check_seen(deployment, command)
    _check_person(deployment, command.deployment_id, approver)
    return [
        DeploymentApproved(
            model=command.model,
            deployment_id=command.deployment_id,
            version=deployment.version,
            artifact_sha256=deployment.artifact_sha256,
            evidence_sha256=deployment.evidence_sha256,
            approver=approver,
            comment=command.comment,
            approvals=len(deployment.approvals) + 1,
            approvals_wanted=deployment.policy.approvals,
        )
    ]


def check_approved(deployment: Deployment, deployment_id: str) -> None:
    """Nothing serves without the approvals that its policy asks for, whoever says so.

    Raises:
        Rejected: some are lacking.
    """
    if deployment.lacks:
        wanted = deployment.policy.approvals
        raise Rejected(
            f"deployment '{deployment_id}' has {len(deployment.approvals)} of {wanted} approvals: "
            f"{deployment.lacks} more with ApproveDeployment, each of another person",
            code="not_approved",
        )


def _said_before(deployment: Deployment, command: ApproveDeployment, approver: str) -> bool:
    seen = (command.artifact_sha256, command.evidence_sha256)
    is_same = seen == (deployment.artifact_sha256, deployment.evidence_sha256)
    return is_same and Approval(approver, command.comment) in deployment.approvals


def _check_step(deployment: Deployment, id: str) -> None:
    match deployment.step:
        case "awaiting_approval":
            return
        case "requested" | "validated" | "loaded" if deployment.policy.approvals:
            why, code = f"is {deployment.step}: it can be approved once it is loaded", "not_loaded"
        case "requested" | "validated" | "loaded":
            why, code = f"is {deployment.step} and needs no approval: its policy asks for none", "no_approval_wanted"
        case "approved":
            why, code = (
                "is approved: it has all the approvals it wants, and is about to be promoted",
                "already_approved",
            )
        case "promoted" | "completed":
            why, code = f"is {deployment.step}: it serves already", "already_promoted"
        case _:
            step = deployment.step.replace("_", " ")
            why, code = f"is {step} ({deployment.reason}): ask for a new deployment", "deployment_aborted"
    raise Rejected(f"deployment '{id}' {why}", code=code)


def _check_seen(deployment: Deployment, command: ApproveDeployment) -> None:
    if command.artifact_sha256 != deployment.artifact_sha256:
        raise Rejected(
            f"deployment '{command.deployment_id}' brings the artifact {deployment.artifact_sha256}, not "
            f"{command.artifact_sha256}: look at it again and approve what it brings",
            code="other_artifact",
        )
    if command.evidence_sha256 != deployment.evidence_sha256:
        raise Rejected(
            f"the evidence of deployment '{command.deployment_id}' has the hash {deployment.evidence_sha256}, not "
            f"{command.evidence_sha256}: look at it again and approve what you have seen",
            code="other_evidence",
        )


def _check_person(deployment: Deployment, id: str, approver: str) -> None:
    if approver == deployment.requested_by and not deployment.policy.requester_may_approve:
        raise Rejected(
            f"'{approver}' asked for deployment '{id}' and cannot approve it: somebody else has to", code="four_eyes"
        )
    if any(one.approver == approver for one in deployment.approvals):
        raise Rejected(
            f"'{approver}' has approved deployment '{id}' already, in other words: each approval is of another person",
            code="approved_before",
        )
