"""From the wish for a version to the version that serves, or to nothing left behind.

The worker (`inference/deployment/deployer.py`) does what touches the world and reports it by command; this saga sees to
it that no step lasts for ever, and says what comes next:

    requested ──► validated ──► loaded ──► promoted ──► completed
        └─────────────┴───────────┴──────► aborted ──► rolled back

Nothing after `promoted` or `aborted` can fail, it can only take longer: these have no timeout. Shadow, canary and
approval are further steps between loaded and promoted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from inference.saga import Later, Reaction, Saga
from schemas.deployments import (
    DeploymentAborted,
    DeploymentCompleted,
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
    """How long a deployment may stand at a step, in seconds.

    Args:
        validation: reading the artifact and asking its golden requests.
        loading: loading and warming up on every Triton.
        promotion: from loaded to promoted; only a command lies between.
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
        timeouts: the policy.
    """

    deployment_id: str | None = None
    version: int | None = None
    step: str | None = None
    timeouts: Timeouts = Timeouts()


def evolve(state: Rollout, event: DeploymentsEvent) -> Rollout:
    """The rollout after one more step."""
    match event:
        case DeploymentRequested(deployment_id=id, version=version):
            return replace(state, deployment_id=id, version=version, step="requested")
        case DeploymentValidated():
            return replace(state, step="validated")
        case DeploymentLoaded():
            return replace(state, step="loaded")
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
        case DeploymentLoaded(model=model, deployment_id=id):
            promote = PromoteDeployment(model=model, deployment_id=id)
            return [promote, _give_up(state, event, state.timeouts.promotion)]
        case DeploymentPromoted() | DeploymentCompleted() | DeploymentAborted() | DeploymentRolledBack():
            return []
        case _:
            assert_never(event)


def _give_up(
    state: Rollout, event: DeploymentRequested | DeploymentValidated | DeploymentLoaded, after_s: float
) -> Later:
    reason = f"version {state.version} stood at '{state.step}' for {after_s:g} s"
    command = RollBackDeployment(model=event.model, deployment_id=event.deployment_id, step=state.step, reason=reason)
    return Later(command, after_s)


SAGA = Saga("deployment", "deployments", Rollout(), evolve, react)
