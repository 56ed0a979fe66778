"""From the wish for a version to the version that serves, or to nothing left behind.

The worker (`inference/deployment/deployer.py`) does what touches the world and reports it by command; this saga sees to
it that no step lasts for ever, and says what comes next:

    requested ──► validated ──► loaded ──┬──► awaiting approval ──► approved ──┬──► promoted ──► completed
        │             │            │     │            │                 │      │
        │             │            │     └── where nobody has to approve ──────┘
        │             │            │                  │                 │
        └─────────────┴────────────┴──────────────────┴─────────────────┴──► aborted ──► rolled back

Where the policy of the model asks for approvals, people say what comes next, and the policy how long they have.
Nothing after `promoted` or `aborted` can fail, it can only take longer: these have no timeout. Shadow and canary are
further steps between loaded and promoted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import assert_never

from inference.saga import Later, Reaction, Saga
from schemas.deployments import (
    ApprovalPolicySet,
    ApprovalRequested,
    DeploymentAborted,
    DeploymentApproved,
    DeploymentCompleted,
    DeploymentDeclined,
    DeploymentLoaded,
    DeploymentPromoted,
    DeploymentRequested,
    DeploymentRolledBack,
    DeploymentsEvent,
    DeploymentValidated,
    PromoteDeployment,
    RollBackDeployment,
)
from schemas.envelope import Meta


@dataclass(frozen=True)
class Timeouts:
    """How long a deployment may stand at a step, in seconds; for approvals the policy of the model says it.

    Args:
        validation: reading the artifact and asking its golden requests.
        loading: loading and warming up on every Triton.
        promotion: from loaded, or from the last approval, to promoted; only a command lies between.
    """

    validation: float = 120
    loading: float = 300
    promotion: float = 60


@dataclass(frozen=True)
class Rollout:
    """The newest deployment of one model.

    Attributes:
        deployment_id: which; None before the first.
        version: what it brings.
        step: where it stands.
        approvals_wanted: how many people have to approve it.
        timeouts: how long it may stand where.
    """

    deployment_id: str | None = None
    version: int | None = None
    step: str | None = None
    approvals_wanted: int = 0
    timeouts: Timeouts = Timeouts()


def evolve(state: Rollout, event: DeploymentsEvent) -> Rollout:
    """The rollout after one more step."""
    match event:
        case ApprovalPolicySet() | DeploymentDeclined():
            return state  # what it means for a deployment, its own next event says
        case DeploymentRequested(deployment_id=id, version=version, approvals_wanted=wanted):
            return replace(state, deployment_id=id, version=version, step="requested", approvals_wanted=wanted)
        case DeploymentValidated():
            return replace(state, step="validated")
        case DeploymentLoaded():
            return replace(state, step="loaded")
        case ApprovalRequested():
            return replace(state, step="awaiting_approval")
        case DeploymentApproved():
            return replace(state, step="approved" if _is_last(event) else "awaiting_approval")
        case DeploymentPromoted():
            return replace(state, step="promoted")
        case DeploymentCompleted():
            return replace(state, step="completed")
        case DeploymentAborted():
            return replace(state, step="aborted")
        case DeploymentRolledBack():
            return replace(state, step="rolled_back")
        case _:
            assert_never(event)


def react(state: Rollout, event: DeploymentsEvent, _: Meta) -> Sequence[Reaction]:
    """What follows from a step."""
    match event:
        case DeploymentRequested():
            return [_give_up(state, event, state.timeouts.validation)]
        case DeploymentValidated():
            return [_give_up(state, event, state.timeouts.loading)]
        case DeploymentLoaded():
            return [] if state.approvals_wanted else _promote(state, event)
        case ApprovalRequested():
            return [_lapse(event)]
        case DeploymentApproved():
            return _promote(state, event) if _is_last(event) else []
        case DeploymentPromoted() | DeploymentCompleted() | DeploymentAborted() | DeploymentRolledBack():
            return []
        case ApprovalPolicySet() | DeploymentDeclined():
            return []
        case _:
            assert_never(event)


def _is_last(event: DeploymentApproved) -> bool:
    return event.approvals >= event.approvals_wanted


def _promote(state: Rollout, event: DeploymentLoaded | DeploymentApproved) -> Sequence[Reaction]:
    promote = PromoteDeployment(model=event.model, deployment_id=event.deployment_id)
    return [promote, _give_up(state, event, state.timeouts.promotion)]


def _give_up(
    state: Rollout,
    event: DeploymentRequested | DeploymentValidated | DeploymentLoaded | DeploymentApproved,
    after_s: float,
) -> Later:
    reason = f"version {state.version} stood at '{state.step}' for {after_s:g} s"
    command = RollBackDeployment(model=event.model, deployment_id=event.deployment_id, step=state.step, reason=reason)
    return Later(command, after_s)


def _lapse(event: ApprovalRequested) -> Later:
    """What is said when too few have approved in time; at any other step it is without effect."""
    wanted = event.approvals_wanted
    lacking = "nobody approved" if wanted == 1 else f"fewer than the {wanted} people wanted approved"
    time = str(timedelta(seconds=event.timeout_s)).removesuffix(", 0:00:00")
    reason = f"{lacking} version {event.version} within {time}"
    command = RollBackDeployment(
        model=event.model, deployment_id=event.deployment_id, step="awaiting_approval", reason=reason
    )
    return Later(command, event.timeout_s)


SAGA = Saga("deployment", "deployments", Rollout(), evolve, react)
