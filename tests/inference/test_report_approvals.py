"""The audit report tells who let a version serve on what evidence, and notices when nobody did."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid6 import uuid7

from inference.report.activity import Activity
from inference.report.answers import Answers
from inference.report.approved import faults, outcome
from inference.report.catalogue import Catalogue
from inference.report.gather import Material
from inference.report.letters import Letters
from inference.report.page import page
from inference.report.paper import paper
from inference.report.people import People
from inference.report.report import document
from inference.report.rollouts import Deployment, Rollouts
from inference.report.scope import Scope
from inference.report.versions import Registry
from schemas.deployments import (
    ApprovalPolicySet,
    ApprovalRequested,
    DeploymentAborted,
    DeploymentApproved,
    DeploymentDeclined,
    DeploymentLoaded,
    DeploymentPromoted,
    DeploymentRequested,
    DeploymentValidated,
)
from schemas.envelope import Meta, Recorded
from schemas.evidence import evidence_sha256
from schemas.position import Position

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
A, B = "a" * 64, "b" * 64
FOUND = {"validated": {"golden": "12 of 12 exact", "metrics": "ndcg@10 0.125"}, "loaded": {"triton-0": "exact"}}
D: dict[str, Any] = {"model": "movies", "deployment_id": "d"}
V: dict[str, Any] = {**D, "version": 2, "artifact_sha256": A}
POLICY = ApprovalPolicySet(model="movies", approvals=2, reason="four eyes", set_by="root")
REQUESTED = DeploymentRequested(**V, rollback_to=1, requested_by="ana", approvals_wanted=2)
VALIDATED = DeploymentValidated(**D, evidence=FOUND["validated"])
LOADED = DeploymentLoaded(**D, evidence=FOUND["loaded"])
ASKED = ApprovalRequested(
    **V, approvals_wanted=2, timeout_s=604_800, evidence=FOUND, evidence_sha256=evidence_sha256(FOUND)
)
PROMOTED = DeploymentPromoted(**V, previous=1)
WAITING = (POLICY, REQUESTED, VALIDATED, LOADED, ASKED)


def yes(who: str, number: int = 1, **changes: Any) -> DeploymentApproved:
    said: dict[str, Any] = {"evidence_sha256": evidence_sha256(FOUND), "comment": f"<b>{who} has looked</b>"}
    return DeploymentApproved(**(V | said | {"approver": who, "approvals": number, "approvals_wanted": 2} | changes))


def folded(*events: Any) -> Rollouts:
    """A log, whether or not the command side would ever have written it."""
    rollouts = Rollouts()
    for offset, event in enumerate(events):
        at = START + timedelta(hours=offset)
        meta = Meta(id=UUID(int=uuid7().int), type=event.AVRO, source="test", subject="movies", time=at, actor="ana")
        rollouts.hear(Recorded(event, meta, Position("deployments", 0, offset)))
    return rollouts


def one(*events: Any) -> Deployment:
    (deployment,) = folded(*events).deployments.values()
    return deployment


def reported(*events: Any, since: datetime | None = None) -> Any:
    scope = Scope(since, START + timedelta(days=30), ())
    people, catalogue = People(scope), Catalogue()
    answers = Answers(people, catalogue.categories())
    activity = Activity(scope, {})
    rollouts = folded(*events)
    return document(Material(scope, rollouts, Registry(), people, catalogue, answers, activity, Letters(scope)))


GOOD = (*WAITING, yes("ben"), yes("eve", 2), PROMOTED)


def test_it_tells_who_approved_on_what_evidence() -> None:
    """The auditor's question, with the record behind each part of the answer."""
    made = reported(*GOOD)
    (model,) = made["models"]
    (deployment,) = model["deployments"]
    told = deployment["approval"]
    assert (told["outcome"], told["text"]) == ("approved", "Approved by ben and eve, 2 of 2 wanted.")
    assert (told["policy"]["by"], told["policy"]["evidence"]) == ("root", ["deployments/0/0"])
    assert [(g["by"], g["counts"], g["evidence"]) for g in told["given"]] == [
        ("ben", True, ["deployments/0/5"]),
        ("eve", True, ["deployments/0/6"]),
    ]
    assert (told["asked"]["shown"], told["asked"]["as_found"]) == (FOUND, True)
    assert [step["step"] for step in deployment["steps"]][-4:] == [
        "awaiting_approval",
        "partly_approved",
        "approved",
        "promoted",
    ]
    assert made["incidents"] == []
    check = next(c for c in made["checks"] if c["name"] == "approvals_as_policy")
    assert (check["passed"], "(1 approved, 0 that needed no approval)" in check["text"]) == (True, True)
    assert any("1 version went live: 1 with the approvals" in s["text"] for s in made["summary"])


def test_a_deployment_that_needed_no_approval_says_so() -> None:
    """Plainly: nobody approved is what it says, whether there was a policy of none or no policy at all."""
    free = (replace(REQUESTED, approvals_wanted=0), VALIDATED, LOADED, PROMOTED)
    none = reported(*free)
    (deployment,) = none["models"][0]["deployments"]
    assert deployment["approval"]["text"] == "No approval was wanted: its model had no policy."
    assert one(replace(POLICY, approvals=0), *free).policy is not None
    html, text = page(none), paper(none)
    assert "No approval was wanted" in html
    assert "No approval was wanted" in text
    assert "movies has no approval policy" in html
    assert "1 without anybody&#39;s approval" in html


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ((*WAITING, PROMOTED), "0 of 2 approvals wanted"),
        ((*WAITING, yes("ben"), PROMOTED), "1 of 2 approvals wanted"),
        ((*WAITING, yes("ben"), yes("ben", 2), PROMOTED), "1 of 2 approvals wanted"),
        ((*WAITING, yes("ben"), yes("ana", 2), PROMOTED), "1 of 2 approvals wanted"),
        ((*WAITING, yes("ben"), yes("eve", 2, artifact_sha256=B), PROMOTED), "1 of 2 approvals wanted"),
        ((*WAITING, yes("ben"), yes("eve", 2, evidence_sha256=B), PROMOTED), "1 of 2 approvals wanted"),
        ((*WAITING, yes("ben"), PROMOTED, yes("eve", 2)), "1 of 2 approvals wanted"),
        ((POLICY, replace(REQUESTED, approvals_wanted=0), VALIDATED, LOADED, PROMOTED), "the request says 0"),
        (
            (POLICY, replace(REQUESTED, requester_may_approve=True), *WAITING[2:], yes("ana"), yes("ben", 2), PROMOTED),
            "lets the one who asked approve",
        ),
    ],
    ids=["nobody", "too few", "twice the same", "requester", "artifact", "evidence", "too late", "no policy", "own"],
)
def test_a_version_that_went_live_without_is_an_incident(events: tuple[Any, ...], said: str) -> None:
    """It should be impossible; a report that takes events at their word would never tell."""
    assert outcome(one(*events)) == "unapproved"
    made = reported(*events)
    (incident,) = made["incidents"]
    assert (incident["kind"], said in incident["text"]) == ("unapproved", True), incident
    check = next(c for c in made["checks"] if c["name"] == "approvals_as_policy")
    assert (check["passed"], check["evidence"]) == (False, [incident["evidence"][0]])
    html, text = page(made), paper(made)
    assert "live without approval" in html
    assert "NOT passed: 1 version of 1 went live against" in text
    assert "<b>ben has looked" not in html


def test_evidence_that_was_changed_after_it_was_found_is_noticed() -> None:
    """Approvers who were shown better figures than were found have approved something else."""
    better = {**FOUND, "validated": {"golden": "12 of 12 exact", "metrics": "ndcg@10 0.9"}}
    shown = replace(ASKED, evidence=better, evidence_sha256=evidence_sha256(better))
    hashed: dict[str, Any] = {"evidence_sha256": shown.evidence_sha256}
    made = reported(*WAITING[:4], shown, yes("ben", **hashed), yes("eve", 2, **hashed), PROMOTED)
    (deployment,) = made["models"][0]["deployments"]
    assert deployment["approval"]["asked"]["as_found"] is False
    assert {g["why_not"] for g in deployment["approval"]["given"]} == {"is on other evidence than what was found"}
    assert "It is not what the steps before it found" in page(made)


def aborted(step: str) -> DeploymentAborted:
    return DeploymentAborted(**D, step=step, reason="nobody came")


@pytest.mark.parametrize(
    ("events", "name", "text"),
    [
        (WAITING, "waiting", "Waits for approval: 0 of 2 given."),
        (WAITING[:3], "not_asked", "Not loaded yet"),
        ((*WAITING, yes("ben"), aborted("awaiting_approval")), "not_approved", "Not approved, 1 of 2: nobody came"),
        ((*WAITING[:3], aborted("validated")), "given_up", "Given up before anybody was asked"),
        (
            (*WAITING, DeploymentDeclined(**V, declined_by="eve", reason="worse"), aborted("awaiting_approval")),
            "declined",
            "Declined by eve: worse",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_did_not_go_live_says_how_its_approval_stands(events: tuple[Any, ...], name: str, text: str) -> None:
    """None of these is against the policy, and each reads differently."""
    deployment = one(*events)
    assert (outcome(deployment), faults(deployment)) == (name, [])
    made = reported(*events)
    assert made["models"][0]["deployments"][0]["approval"]["text"].startswith(text)
    assert "unapproved" not in {incident["kind"] for incident in made["incidents"]}
    assert text.split(":")[0] in page(made)
    assert paper(made)


def test_a_policy_counts_from_its_event_on() -> None:
    """A model whose policy came after the request owed it nothing; one of another model never does."""
    free = replace(REQUESTED, approvals_wanted=0)
    other = replace(POLICY, model="songs")
    assert faults(one(other, free, VALIDATED, LOADED, POLICY, PROMOTED)) == []
    assert faults(one(POLICY, replace(POLICY, approvals=0), free, VALIDATED, LOADED, PROMOTED)) == []


def test_what_went_live_before_the_period_is_not_told_again() -> None:
    """Each report speaks of its own time."""
    made = reported(*WAITING, PROMOTED, since=START + timedelta(days=3))
    assert made["incidents"] == []
