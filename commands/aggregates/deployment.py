"""The deployments of a model: one at a time, each promoted and completed, or aborted and rolled back.

    requested ──► validated ──► loaded ──┬──► awaiting approval ──► approved ──┬──► promoted ──► completed
        │             │            │     │            │                 │      │
        │             │            │     └── where nobody has to approve ──────┘
        │             │            │                  │                 │
        └─────────────┴────────────┴──────────────────┴─────────────────┴──► aborted ──► rolled back

Whether approvals are wanted, and how many, is the model's policy when a deployment is asked for; without one a loaded
version is promoted at once. Workers report what they did; a report that comes again, or after its step has passed,
changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from commands.aggregate import Aggregate
from commands.approval import Approval, Deployment, Policy, Step, approve, check_approved
from schemas.deployments import (
    ApprovalPolicySet,
    ApprovalRequested,
    ApproveDeployment,
    DeclineDeployment,
    DeploymentAborted,
    DeploymentApproved,
    DeploymentCompleted,
    DeploymentDeclined,
    DeploymentLoaded,
    DeploymentPromoted,
    DeploymentRequested,
    DeploymentRolledBack,
    DeploymentsCommand,
    DeploymentsEvent,
    DeploymentValidated,
    PromoteDeployment,
    ReportLoading,
    ReportUnloading,
    ReportValidation,
    RequestDeployment,
    RollBackDeployment,
    SetApprovalPolicy,
)
from schemas.envelope import Meta
from schemas.errors import NotFound, Rejected
from schemas.evidence import evidence_sha256


@dataclass(frozen=True, slots=True)
class Deployments:
    """What later rules depend on.

    Attributes:
        live: version that serves.
        running: id of the deployment that is not over.
        known: every deployment, by id.
        policy: what the next deployment needs to serve.
    """

    live: int | None = None
    running: str | None = None
    known: Mapping[str, Deployment] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)


def decide(state: Deployments, command: DeploymentsCommand, meta: Meta) -> Sequence[DeploymentsEvent]:
    """What a command leads to.

    Raises:
        Rejected: another deployment runs, or this one has passed the step that the command needs.
        NotFound: no such deployment.
    """
    match command:
        case RequestDeployment():
            return _request(state, command, meta)
        case ReportValidation(model=model, deployment_id=id, evidence=evidence):
            if not _stands_at(state, id, "requested"):
                return []
            return (
                [DeploymentValidated(model=model, deployment_id=id, evidence=evidence)]
                if command.ok
                else _abort(command, "requested")
            )
        case ReportLoading(deployment_id=id):
            if not _stands_at(state, id, "validated"):
                return []
            return _loaded(state.known[id], command) if command.ok else _abort(command, "validated")
        case ApproveDeployment():
            return approve(_deployment(state, command.deployment_id), command, meta.actor)
        case DeclineDeployment():
            return _decline(_deployment(state, command.deployment_id), command, meta.actor)
        case PromoteDeployment():
            return _promote(state, command)
        case ReportUnloading(model=model, deployment_id=id, evidence=evidence):
            if _stands_at(state, id, "promoted"):
                return [DeploymentCompleted(model=model, deployment_id=id, evidence=evidence)]
            return _rolled_back(state, command) if _stands_at(state, id, "aborted") else []
        case RollBackDeployment():
            return _roll_back(state, command)
        case SetApprovalPolicy():
            return _set_policy(state, command, meta)
        case _:
            assert_never(command)


def _request(state: Deployments, command: RequestDeployment, meta: Meta) -> Sequence[DeploymentsEvent]:
    known = state.known.get(command.deployment_id)
    if known is not None:
        if (known.version, known.artifact_sha256) == (command.version, command.artifact_sha256):
            return []  # said twice, meant once
        raise Rejected(f"deployment '{command.deployment_id}' exists: ask with another id", code="deployment_exists")
    if state.running is not None:
        raise Rejected(
            f"deployment '{state.running}' of '{command.model}' is not over: wait for it, or roll it back",
            code="deployment_running",
        )
    if state.live == command.version:
        raise Rejected(f"version {command.version} of '{command.model}' serves already", code="already_live")
    return [
        DeploymentRequested(
            model=command.model,
            deployment_id=command.deployment_id,
            version=command.version,
            artifact_sha256=command.artifact_sha256,
            rollback_to=state.live,
            requested_by=meta.actor,
            approvals_wanted=state.policy.approvals,
            requester_may_approve=state.policy.requester_may_approve,
            approval_timeout_s=state.policy.timeout_s,
        )
    ]


def _set_policy(state: Deployments, command: SetApprovalPolicy, meta: Meta) -> Sequence[DeploymentsEvent]:
    if state.policy == Policy(command.approvals, command.requester_may_approve, command.timeout_s):
        return []
    return [
        ApprovalPolicySet(
            model=command.model,
            approvals=command.approvals,
            requester_may_approve=command.requester_may_approve,
            timeout_s=command.timeout_s,
            reason=command.reason,
            set_by=meta.actor,
        )
    ]


def _loaded(deployment: Deployment, command: ReportLoading) -> Sequence[DeploymentsEvent]:
    model, id = command.model, command.deployment_id
    loaded = DeploymentLoaded(model=model, deployment_id=id, evidence=command.evidence)
    if not deployment.policy.approvals:
        return [loaded]
    evidence = {**deployment.evidence, "loaded": command.evidence}
    asked = ApprovalRequested(
        model=model,
        deployment_id=id,
        version=deployment.version,
        artifact_sha256=deployment.artifact_sha256,
        approvals_wanted=deployment.policy.approvals,
        requester_may_approve=deployment.policy.requester_may_approve,
        timeout_s=deployment.policy.timeout_s,
        evidence=evidence,
        evidence_sha256=evidence_sha256(evidence),
    )
    return [loaded, asked]


def _stands_at(state: Deployments, deployment_id: str, step: Step) -> bool:
    deployment = state.known.get(deployment_id)
    return deployment is not None and deployment.step == step


def _abort(
    command: ReportValidation | ReportLoading | RollBackDeployment | DeclineDeployment, step: Step
) -> Sequence[DeploymentsEvent]:
    return [
        DeploymentAborted(model=command.model, deployment_id=command.deployment_id, step=step, reason=command.reason)
    ]


def _decline(deployment: Deployment, command: DeclineDeployment, actor: str) -> Sequence[DeploymentsEvent]:
    match deployment.step:
        case "aborted" | "rolled_back" if deployment.declined_by == actor:
            return []
        case "aborted" | "rolled_back":
            why = f"is {deployment.step.replace('_', ' ')} already ({deployment.reason})"
            raise Rejected(f"deployment '{command.deployment_id}' {why}", code="deployment_aborted")
        case "promoted" | "completed":
            raise _serves(command)
        case step:
            return [_declined(deployment, command, actor), *_abort(command, step)]


def _declined(deployment: Deployment, command: DeclineDeployment, actor: str) -> DeploymentDeclined:
    return DeploymentDeclined(
        model=command.model,
        deployment_id=command.deployment_id,
        version=deployment.version,
        artifact_sha256=deployment.artifact_sha256,
        evidence_sha256=deployment.evidence_sha256,
        declined_by=actor,
        reason=command.reason,
    )


def _serves(command: RollBackDeployment | DeclineDeployment) -> Rejected:
    return Rejected(
        f"deployment '{command.deployment_id}' is promoted: deploy the version before it instead",
        code="already_promoted",
    )


def _deployment(state: Deployments, deployment_id: str) -> Deployment:
    deployment = state.known.get(deployment_id)
    if deployment is None:
        raise NotFound(f"no deployment '{deployment_id}' of this model", code="unknown_deployment")
    return deployment


def _promote(state: Deployments, command: PromoteDeployment) -> Sequence[DeploymentsEvent]:
    deployment = _deployment(state, command.deployment_id)
    match deployment.step:
        case "loaded" | "awaiting_approval" | "approved":
            check_approved(deployment, command.deployment_id)
            return [
                DeploymentPromoted(
                    model=command.model,
                    deployment_id=command.deployment_id,
                    version=deployment.version,
                    artifact_sha256=deployment.artifact_sha256,
                    previous=state.live,
                )
            ]
        case "promoted" | "completed":
            return []
        case "requested" | "validated":
            raise Rejected(
                f"deployment '{command.deployment_id}' is {deployment.step}: it has to be loaded first",
                code="not_loaded",
            )
        case "aborted" | "rolled_back":
            raise Rejected(f"deployment '{command.deployment_id}' was aborted", code="deployment_aborted")
        case _:
            assert_never(deployment.step)


def _roll_back(state: Deployments, command: RollBackDeployment) -> Sequence[DeploymentsEvent]:
    deployment = _deployment(state, command.deployment_id)
    if command.step is not None and command.step != deployment.step:
        return []  # a timeout of a step that has passed
    match deployment.step:
        case "requested" | "validated" | "loaded" | "awaiting_approval" | "approved":
            return _abort(command, deployment.step)
        case "aborted" | "rolled_back":
            return []
        case "promoted" | "completed":
            raise _serves(command)
        case _:
            assert_never(deployment.step)


def _rolled_back(state: Deployments, command: ReportUnloading) -> Sequence[DeploymentsEvent]:
    deployment = state.known[command.deployment_id]
    return [
        DeploymentRolledBack(
            model=command.model,
            deployment_id=command.deployment_id,
            version=deployment.version,
            serving=deployment.rollback_to,
            reason=deployment.reason,
        )
    ]


def evolve(state: Deployments, event: DeploymentsEvent) -> Deployments:
    """The state after an event."""
    match event:
        case ApprovalPolicySet(approvals=approvals, requester_may_approve=own, timeout_s=timeout_s):
            return replace(state, policy=Policy(approvals, own, timeout_s))
        case DeploymentRequested(deployment_id=id):
            return replace(state, running=id, known={**state.known, id: _begun(event)})
        case DeploymentValidated(deployment_id=id, evidence=evidence):
            return _moved(state, id, "validated", evidence={"validated": evidence})
        case DeploymentLoaded(deployment_id=id):
            return _moved(state, id, "loaded", evidence={})  # what approvers see of it, ApprovalRequested says
        case ApprovalRequested(deployment_id=id, evidence_sha256=seen):
            return _moved(state, id, "awaiting_approval", evidence_sha256=seen)
        case DeploymentApproved(deployment_id=id):
            given = (*state.known[id].approvals, Approval(event.approver, event.comment))
            step: Step = "awaiting_approval" if event.approvals < event.approvals_wanted else "approved"
            return _moved(state, id, step, approvals=given)
        case DeploymentDeclined(deployment_id=id, declined_by=who):
            return _moved(state, id, state.known[id].step, declined_by=who)
        case DeploymentPromoted(deployment_id=id, version=version):
            return replace(_moved(state, id, "promoted"), live=version)
        case DeploymentCompleted(deployment_id=id):
            return _moved(state, id, "completed")
        case DeploymentAborted(deployment_id=id, reason=reason):
            return _moved(state, id, "aborted", reason=reason, evidence={})
        case DeploymentRolledBack(deployment_id=id):
            return _moved(state, id, "rolled_back")
        case _:
            assert_never(event)


def _begun(event: DeploymentRequested) -> Deployment:
    policy = Policy(event.approvals_wanted, event.requester_may_approve, event.approval_timeout_s)
    return Deployment(event.version, event.artifact_sha256, event.rollback_to, event.requested_by, policy)


def _moved(state: Deployments, deployment_id: str, step: Step, **changes: Any) -> Deployments:
    deployment = replace(state.known[deployment_id], step=step, **changes)
    running = None if deployment.is_over else state.running
    return replace(state, running=running, known={**state.known, deployment_id: deployment})


AGGREGATE = Aggregate("deployment", "deployments", Deployments(), decide, evolve)
