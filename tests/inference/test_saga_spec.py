"""The deployment saga by example: what it says to each event."""

import pytest

from inference.saga import Later
from inference.sagas.deployment import SAGA, Timeouts
from inference.testing import SagaSpec
from schemas.deployments import (
    DeploymentLoaded,
    DeploymentPromoted,
    DeploymentRequested,
    DeploymentValidated,
    PromoteDeployment,
    RollBackDeployment,
)

deployment = SagaSpec(SAGA)
NAMED = {"model": "films", "deployment_id": "d-1"}
REQUESTED = DeploymentRequested(**NAMED, version=2, artifact_sha256="a" * 64, rollback_to=1, requested_by="ana")
VALIDATED = DeploymentValidated(**NAMED, evidence={})
LOADED = DeploymentLoaded(**NAMED, evidence={})


def given_up(step: str, after_s: float) -> Later:
    """What is said when a step takes too long."""
    reason = f"version 2 stood at '{step}' for {after_s:g} s"
    return Later(RollBackDeployment(**NAMED, step=step, reason=reason), after_s)


def test_a_loaded_version_is_promoted_at_once() -> None:
    """Nobody has to ask for what follows anyway; and a promotion that does not come is given up."""
    heard = deployment.given(REQUESTED, VALIDATED).when(LOADED)
    heard.at_once(PromoteDeployment(**NAMED))
    heard.then(PromoteDeployment(**NAMED), given_up("loaded", Timeouts().promotion))


def test_a_promoted_version_needs_nothing_more() -> None:
    """The end of a saga says nothing, or it would not be the end."""
    deployment.given(REQUESTED, VALIDATED, LOADED).when(
        DeploymentPromoted(model="films", deployment_id="d-1", version=2, artifact_sha256="a" * 64, previous=1)
    ).nothing()


def test_a_wrong_example_says_what_came_instead() -> None:
    """Whoever reads the failure should not have to run it again under a debugger."""
    with pytest.raises(AssertionError, match=r"other commands than expected(.|\n)*\+.*PromoteDeployment"):
        deployment.given(REQUESTED, VALIDATED).when(LOADED).then(given_up("loaded", Timeouts().promotion))
