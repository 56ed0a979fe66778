"""What the views of deployments and approvals make of their events, in one batch and one by one."""

from typing import Any

from psycopg import AsyncConnection

from infra.settings import Settings
from projections.testing import Log, minute
from projections.views import (
    approval_policies,
    deployments,
    live_models,
)
from schemas.deployments import (
    ApprovalPolicySet,
    ApprovalRequested,
    DeploymentAborted,
    DeploymentApproved,
    DeploymentDeclined,
    DeploymentLoaded,
    DeploymentRequested,
    DeploymentRolledBack,
    DeploymentValidated,
)
from schemas.evidence import evidence_sha256

from .samples import promoted
from .spec import Spec


async def test_deployment_keeps_the_evidence_of_each_step(database: AsyncConnection[Any], settings: Settings) -> None:
    """Governance asks on what evidence a version went live."""
    row = await Spec(database, settings, deployments.VIEW).row(
        *Log().of(
            DeploymentRequested(
                model="movies", deployment_id="d", version=2, artifact_sha256="a", rollback_to=1, requested_by="ana"
            ),
            DeploymentValidated(model="movies", deployment_id="d", evidence={"hash": "ok"}),
            DeploymentLoaded(model="movies", deployment_id="d", evidence={"server": "one"}),
            DeploymentAborted(model="movies", deployment_id="d", step="loaded", reason="golden answers differ"),
            DeploymentRolledBack(model="movies", deployment_id="d", version=2, serving=1),
        )
    )
    assert (row["step"], row["version"], row["rollback_to"], row["reason"]) == (
        "rolled_back",
        2,
        1,
        "golden answers differ",
    )
    assert row["evidence"] == {"validated": {"hash": "ok"}, "loaded": {"server": "one"}}


ASKED = DeploymentRequested(
    model="movies", deployment_id="d", version=2, artifact_sha256="a", requested_by="ana", approvals_wanted=2
)
FOUND: dict[str, dict[str, str]] = {"validated": {"golden": "exact"}, "loaded": {"server": "one"}}
WAITING = (
    ASKED,
    DeploymentValidated(model="movies", deployment_id="d", evidence=FOUND["validated"]),
    DeploymentLoaded(model="movies", deployment_id="d", evidence=FOUND["loaded"]),
    ApprovalRequested(
        model="movies",
        deployment_id="d",
        version=2,
        artifact_sha256="a",
        approvals_wanted=2,
        timeout_s=3600,
        evidence=FOUND,
        evidence_sha256=evidence_sha256(FOUND),
    ),
)


def approved(number: int) -> DeploymentApproved:
    return DeploymentApproved(
        model="movies",
        deployment_id="d",
        version=2,
        artifact_sha256="a",
        evidence_sha256=evidence_sha256(FOUND),
        approver=f"approver {number}",
        comment="fine",
        approvals=number,
        approvals_wanted=2,
    )


async def test_a_deployment_shows_who_approved_what(database: AsyncConnection[Any], settings: Settings) -> None:
    """An approver has to see what is asked of whom until when, and the hash by which to name it."""
    spec = Spec(database, settings, deployments.VIEW)
    row = await spec.row(*Log().of(*WAITING, approved(1)))
    assert (row["step"], row["approvals_wanted"], row["approve_until"]) == ("awaiting_approval", 2, minute(63))
    assert row["evidence_sha256"] == evidence_sha256(row["evidence"]), "what is shown is what is hashed"
    (first,) = row["approvals"]
    assert (first["approver"], first["comment"], first["artifact_sha256"]) == ("approver 1", "fine", "a")
    assert (first["position"], first["evidence_sha256"]) == ("deployments/0/4", row["evidence_sha256"])


async def test_the_last_approval_is_a_step(database: AsyncConnection[Any], settings: Settings) -> None:
    """Whoever waits for approvals sees that none is wanted any more."""
    row = await Spec(database, settings, deployments.VIEW).row(*Log().of(*WAITING, approved(1), approved(2)))
    assert (row["step"], [one["approver"] for one in row["approvals"]]) == ("approved", ["approver 1", "approver 2"])


async def test_a_refusal_names_its_author(database: AsyncConnection[Any], settings: Settings) -> None:
    """Who said no stays on record when the deployment is taken back."""
    declined = DeploymentDeclined(
        model="movies", deployment_id="d", version=2, artifact_sha256="a", declined_by="eve", reason="worse"
    )
    aborted = DeploymentAborted(model="movies", deployment_id="d", step="awaiting_approval", reason="worse")
    row = await Spec(database, settings, deployments.VIEW).row(*Log().of(*WAITING, declined, aborted))
    assert (row["step"], row["declined_by"], row["reason"]) == ("aborted", "eve", "worse")


async def test_a_refusal_alone_moves_nothing(database: AsyncConnection[Any], settings: Settings) -> None:
    """A batch may end between the refusal and what follows from it."""
    declined = DeploymentDeclined(
        model="movies", deployment_id="d", version=2, artifact_sha256="a", declined_by="eve", reason="worse"
    )
    row = await Spec(database, settings, deployments.VIEW).row(*Log().of(*WAITING, declined))
    assert (row["step"], row["declined_by"]) == ("awaiting_approval", "eve")


async def test_the_last_policy_holds(database: AsyncConnection[Any], settings: Settings) -> None:
    """Each replaces the one before, whole."""
    first = ApprovalPolicySet(model="movies", approvals=1, requester_may_approve=True, timeout_s=60, set_by="root")
    second = ApprovalPolicySet(model="movies", approvals=2, reason="four eyes", set_by="eve")
    row = await Spec(database, settings, approval_policies.VIEW).row(*Log().of(first, second))
    assert row == {
        "model": "movies",
        "approvals": 2,
        "requester_may_approve": False,
        "timeout_s": 604_800,
        "reason": "four eyes",
        "set_by": "eve",
        "set_at": minute(1),
    }


async def test_live_model_after_a_rollback_is_the_one_before(
    database: AsyncConnection[Any], settings: Settings
) -> None:
    """A rollback names a version; serving needs its artifact, and who brought it."""
    row = await Spec(database, settings, live_models.VIEW).row(
        *Log().of(
            promoted(1, "d1"),
            promoted(2, "d2"),
            DeploymentRolledBack(model="movies", deployment_id="d2", version=2, serving=1),
        )
    )
    assert row == {
        "model": "movies",
        "version": 1,
        "artifact_sha256": "a1",
        "deployment_id": "d1",
        "since": minute(2),
    }


async def test_live_model_survives_a_deployment_that_never_served(
    database: AsyncConnection[Any], settings: Settings
) -> None:
    """A failed deployment changes nothing for those who ask, not even since when."""
    row = await Spec(database, settings, live_models.VIEW).row(
        *Log().of(promoted(1, "d1"), DeploymentRolledBack(model="movies", deployment_id="d2", version=2, serving=1))
    )
    assert (row["version"], row["deployment_id"], row["since"]) == (1, "d1", minute(0))


async def test_nothing_is_live_after_the_first_deployment_failed(
    database: AsyncConnection[Any], settings: Settings
) -> None:
    """Serving must fall back, not look for a version that was never promoted."""
    spec = Spec(database, settings, live_models.VIEW)
    assert await spec.rows(*Log().of(DeploymentRolledBack(model="movies", deployment_id="d", version=1))) == []
