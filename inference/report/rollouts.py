"""Which version of each model was in production when, who brought it there, and on what evidence."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from inference.report.approvals import Approval, Policy, Refusal, Request
from schemas.contracts import contracts
from schemas.deployments import (
    ApprovalPolicySet,
    ApprovalRequested,
    DeploymentAborted,
    DeploymentApproved,
    DeploymentDeclined,
    DeploymentPromoted,
    DeploymentRequested,
    DeploymentRolledBack,
)
from schemas.envelope import Recorded

OVER = frozenset({"completed", "rolled_back"})


@dataclass(frozen=True)
class Step:
    """One step of a deployment, as its event has it.

    Attributes:
        name: such as `validated`.
        by: in whose name the command was sent that led to it.
        evidence: what was checked, and what came out.
        position: where the event stands.
    """

    name: str
    at: datetime
    by: str
    evidence: Mapping[str, str]
    position: str
    reason: str = ""


@dataclass
class Deployment:
    """A version on its way to production.

    Attributes:
        replaced: the version that served when this one was promoted, or when it began.
        wanted: how many approvals its request says it needs.
        requester_may_approve: whether its request lets whoever asked for it approve.
        timeout_s: how long its request lets it wait for them.
        policy: what the log says of its model when it was asked for; None when nobody had said anything.
        asked: what people were shown when they were asked to approve; None when they were not.
        approvals: those given, whether they count or not.
        declined: who refused.
        steps: in the order of the log.
    """

    deployment_id: str
    model: str
    version: int
    artifact_sha256: str
    replaced: int | None
    requested_by: str
    wanted: int = 0
    requester_may_approve: bool = False
    timeout_s: int = 0
    policy: Policy | None = None
    asked: Request | None = None
    approvals: list[Approval] = field(default_factory=list)
    declined: Refusal | None = None
    steps: list[Step] = field(default_factory=list)

    @property
    def state(self) -> str:
        """How far it had come."""
        return self.steps[-1].name

    def step(self, name: str) -> Step | None:
        """The step of this name."""
        return next((step for step in self.steps if step.name == name), None)

    def places(self, name: str) -> list[str]:
        """Where the step of this name stands in the log."""
        step = self.step(name)
        return [] if step is None else [step.position]


@dataclass(frozen=True)
class Serving:
    """A time in which one version answered for a model.

    Attributes:
        since: of its promotion.
        until: of the next promotion; None while it serves.
    """

    model: str
    version: int
    artifact_sha256: str
    deployment_id: str
    since: datetime
    until: datetime | None
    position: str


class Rollouts:
    """The fold of `deployments`."""

    def __init__(self) -> None:
        self.deployments: dict[tuple[str, str], Deployment] = {}
        self.policies: dict[str, list[Policy]] = {}

    def hear(self, one: Recorded) -> None:
        """The next event of the topic; answers to commands say nothing here."""
        event: Any = one.event
        if contracts()[event.AVRO].is_outcome:
            return
        if isinstance(event, ApprovalPolicySet):
            self.policies.setdefault(event.model, []).append(_policy(event, one))
            return
        key = (event.model, event.deployment_id)
        if isinstance(event, DeploymentRequested):
            self.deployments[key] = self._begun(event)
        deployment = self.deployments[key]
        if isinstance(event, DeploymentPromoted):
            deployment.replaced = event.previous
        _judge(deployment, one)
        deployment.steps.append(_step(one))

    def _begun(self, event: DeploymentRequested) -> Deployment:
        policies = self.policies.get(event.model)
        return Deployment(
            event.deployment_id,
            event.model,
            event.version,
            event.artifact_sha256,
            event.rollback_to,
            event.requested_by,
            event.approvals_wanted,
            event.requester_may_approve,
            event.approval_timeout_s,
            policies[-1] if policies else None,
        )

    def of(self, model: str) -> list[Deployment]:
        """The deployments of a model, in their order."""
        return [one for one in self.deployments.values() if one.model == model]

    def models(self) -> list[str]:
        """Every model of which a version was asked for, or the policy set."""
        return sorted({*(one.model for one in self.deployments.values()), *self.policies})

    def promoted(self, since: datetime | None) -> list[Deployment]:
        """The deployments that went live from a moment on, of every model."""
        steps = ((one, one.step("promoted")) for one in self.deployments.values())
        return [one for one, step in steps if step is not None and (since is None or step.at >= since)]

    def servings(self, model: str) -> list[Serving]:
        """What answered for a model, one after another."""
        promoted = sorted(
            ((step, one) for one in self.of(model) if (step := one.step("promoted"))), key=lambda pair: pair[0].at
        )
        ends: list[datetime | None] = [step.at for step, _ in promoted[1:]]
        return [
            Serving(model, d.version, d.artifact_sha256, d.deployment_id, step.at, end, step.position)
            for (step, d), end in zip(promoted, [*ends, None], strict=False)
        ]


def _policy(event: ApprovalPolicySet, one: Recorded) -> Policy:
    return Policy(
        event.approvals,
        event.requester_may_approve,
        event.timeout_s,
        event.reason,
        event.set_by,
        one.meta.time,
        str(one.position),
    )


def _judge(deployment: Deployment, one: Recorded) -> None:
    """What people were asked, and said."""
    event: Any = one.event
    at, position = one.meta.time, str(one.position)
    match event:
        case ApprovalRequested():
            deployment.asked = Request(event.evidence, event.evidence_sha256, position)
        case DeploymentApproved():
            late = deployment.step("promoted") is not None
            seen = (event.artifact_sha256, event.evidence_sha256)
            deployment.approvals.append(Approval(event.approver, at, event.comment, *seen, position, late))
        case DeploymentDeclined():
            deployment.declined = Refusal(event.declined_by, at, event.reason, position)


def _step(one: Recorded) -> Step:
    event: Any = one.event
    said = isinstance(event, DeploymentAborted | DeploymentRolledBack | DeploymentDeclined)
    return Step(
        name=_name(event),
        at=one.meta.time,
        by=one.meta.actor,
        evidence=_found(event),
        position=str(one.position),
        reason=event.reason if said else event.comment if isinstance(event, DeploymentApproved) else "",
    )


def _found(event: Any) -> dict[str, str]:
    """What a step found; the evidence that approvers are asked on is that of the steps before, named by its hash."""
    match event:
        case ApprovalRequested():
            return {"approvals_wanted": str(event.approvals_wanted), "evidence_sha256": event.evidence_sha256}
        case DeploymentApproved():
            return {
                "approval": f"{event.approvals} of {event.approvals_wanted}",
                "evidence_sha256": event.evidence_sha256,
            }
        case _:
            return dict(getattr(event, "evidence", {}))


def _name(event: Any) -> str:
    """`RolledBack` of `DeploymentRolledBack`, in the words of the read models: `rolled_back`."""
    match event:
        case ApprovalRequested():
            return "awaiting_approval"
        case DeploymentApproved() if event.approvals < event.approvals_wanted:
            return "partly_approved"
        case _:
            bare = type(event).__name__.removeprefix("Deployment")
            return "".join(f"_{c.lower()}" if c.isupper() and place else c.lower() for place, c in enumerate(bare))


def during(servings: Iterable[Serving], since: datetime | None, until: datetime) -> list[Serving]:
    """Those that answered at some moment of a period."""
    return [one for one in servings if one.since < until and (since is None or one.until is None or one.until > since)]
