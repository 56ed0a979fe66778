"""The deployment saga by example: what it says to each event."""

from dataclasses import replace
from typing import Any

import pytest

from inference.saga import Later
from inference.sagas.deployment import SAGA, Timeouts
from inference.testing import SagaSpec
from schemas.deployments import (
    ApprovalRequested,
    DeploymentApproved,
    DeploymentLoaded,
    DeploymentPromoted,
    DeploymentRequested,
    DeploymentValidated,
    PromoteDeployment,
    RollBackDeployment,
)

deployment = SagaSpec(SAGA)
NAMED: dict[str, Any] = {"model": "films", "deployment_id": "d-1"}
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


WANTING = replace(REQUESTED, approvals_wanted=2)
ASKED = ApprovalRequested(
    **NAMED, version=2, artifact_sha256="a" * 64, approvals_wanted=2, timeout_s=604_800, evidence_sha256="e" * 64
)


def approved(number: int) -> DeploymentApproved:
    return DeploymentApproved(
        **NAMED,
        version=2,
        artifact_sha256="a" * 64,
        evidence_sha256="e" * 64,
        approver=f"approver {number}",
        approvals=number,
        approvals_wanted=2,
    )


def test_a_version_that_needs_approval_waits_as_long_as_its_policy_says() -> None:
    """Days, not the seconds of the other steps; and the reason says what was missing."""
    deployment.given(WANTING, VALIDATED).when(LOADED).nothing()
    reason = "fewer than the 2 people wanted approved version 2 within 7 days"
    lapse = Later(RollBackDeployment(**NAMED, step="awaiting_approval", reason=reason), 604_800)
    deployment.given(WANTING, VALIDATED, LOADED).when(ASKED).then(lapse)
    alone = deployment.given(WANTING, VALIDATED, LOADED).when(replace(ASKED, approvals_wanted=1, timeout_s=5400))
    (said,) = alone.reactions
    assert isinstance(said, Later)
    assert isinstance(said.command, RollBackDeployment)
    assert said.command.reason == "nobody approved version 2 within 1:30:00"


def test_the_last_approval_promotes() -> None:
    """One of two says nothing; after the second the step has a timeout like any other."""
    waiting = (WANTING, VALIDATED, LOADED, ASKED)
    deployment.given(*waiting).when(approved(1)).nothing()
    deployment.given(*waiting, approved(1)).when(approved(2)).then(
        PromoteDeployment(**NAMED), given_up("approved", Timeouts().promotion)
    )


def test_a_promoted_version_needs_nothing_more() -> None:
    """The end of a saga says nothing, or it would not be the end."""
    deployment.given(REQUESTED, VALIDATED, LOADED).when(
        DeploymentPromoted(model="films", deployment_id="d-1", version=2, artifact_sha256="a" * 64, previous=1)
    ).nothing()


def test_a_wrong_example_says_what_came_instead() -> None:
    """Whoever reads the failure should not have to run it again under a debugger."""
    with pytest.raises(AssertionError, match=r"other commands than expected(.|\n)*\+.*PromoteDeployment"):
        deployment.given(REQUESTED, VALIDATED).when(LOADED).then(given_up("loaded", Timeouts().promotion))
