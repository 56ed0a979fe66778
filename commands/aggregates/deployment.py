"""The deployments of a model: one at a time, each promoted and completed, or aborted and rolled back.

    requested ──► validated ──► loaded ──► promoted ──► completed
        └─────────────┴───────────┴──► aborted ──► rolled_back

Workers report what they did; a report that comes again, or after its step has passed, changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, assert_never

from commands.aggregate import Aggregate
from schemas.deployments import (
    DeploymentAborted,
    DeploymentCompleted,
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
)
from schemas.envelope import Meta
from schemas.errors import NotFound, Rejected

Step: TypeAlias = Literal["requested", "validated", "loaded", "promoted", "completed", "aborted", "rolled_back"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment.

    Attributes:
        version: version to deploy.
        artifact_sha256: hash of its ONNX file.
        rollback_to: version that served when it began.
        step: how far it has come.
        reason: why it was aborted.
    """

    version: int
    artifact_sha256: str
    rollback_to: int | None
    step: Step = "requested"
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.step in ("completed", "rolled_back")


@dataclass(frozen=True, slots=True)
class Deployments:
    """What later rules depend on.

    Attributes:
        live: version that serves.
        running: id of the deployment that is not over.
        known: every deployment, by id.
    """

    live: int | None = None
    running: str | None = None
    known: Mapping[str, Deployment] = field(default_factory=dict)


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
        case ReportLoading(model=model, deployment_id=id, evidence=evidence):
            if not _stands_at(state, id, "validated"):
                return []
            return (
                [DeploymentLoaded(model=model, deployment_id=id, evidence=evidence)]
                if command.ok
                else _abort(command, "validated")
            )
        case PromoteDeployment():
            return _promote(state, command)
        case ReportUnloading(model=model, deployment_id=id, evidence=evidence):
            if _stands_at(state, id, "promoted"):
                return [DeploymentCompleted(model=model, deployment_id=id, evidence=evidence)]
            return _rolled_back(state, command) if _stands_at(state, id, "aborted") else []
        case RollBackDeployment():
            return _roll_back(state, command)
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
        )
    ]


def _stands_at(state: Deployments, deployment_id: str, step: Step) -> bool:
    deployment = state.known.get(deployment_id)
    return deployment is not None and deployment.step == step


def _abort(command: ReportValidation | ReportLoading | RollBackDeployment, step: Step) -> Sequence[DeploymentsEvent]:
    return [
        DeploymentAborted(model=command.model, deployment_id=command.deployment_id, step=step, reason=command.reason)
    ]


def _deployment(state: Deployments, deployment_id: str) -> Deployment:
    deployment = state.known.get(deployment_id)
    if deployment is None:
        raise NotFound(f"no deployment '{deployment_id}' of this model", code="unknown_deployment")
    return deployment


def _promote(state: Deployments, command: PromoteDeployment) -> Sequence[DeploymentsEvent]:
    deployment = _deployment(state, command.deployment_id)
    match deployment.step:
        case "loaded":
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
        case "requested" | "validated" | "loaded":
            return _abort(command, deployment.step)
        case "aborted" | "rolled_back":
            return []
        case "promoted" | "completed":
            raise Rejected(
                f"deployment '{command.deployment_id}' is promoted: deploy the version before it instead",
                code="already_promoted",
            )
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
    id = event.deployment_id
    match event:
        case DeploymentRequested(version=version, artifact_sha256=artifact, rollback_to=rollback_to):
            deployment = Deployment(version, artifact, rollback_to)
            return replace(state, running=id, known={**state.known, id: deployment})
        case DeploymentValidated():
            return _moved(state, id, "validated")
        case DeploymentLoaded():
            return _moved(state, id, "loaded")
        case DeploymentPromoted(version=version):
            return replace(_moved(state, id, "promoted"), live=version)
        case DeploymentCompleted():
            return _moved(state, id, "completed")
        case DeploymentAborted(reason=reason):
            return _moved(state, id, "aborted", reason)
        case DeploymentRolledBack():
            return _moved(state, id, "rolled_back")
        case _:
            assert_never(event)


def _moved(state: Deployments, deployment_id: str, step: Step, reason: str | None = None) -> Deployments:
    before = state.known[deployment_id]
    deployment = replace(before, step=step, reason=before.reason if reason is None else reason)
    running = None if deployment.is_over else state.running
    return replace(state, running=running, known={**state.known, deployment_id: deployment})


AGGREGATE = Aggregate("deployment", "deployments", Deployments(), decide, evolve)
