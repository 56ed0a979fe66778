"""A version serves when enough people have looked at exactly this and let it; and never before."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands import approval
from commands.aggregates import deployment as deployments
from commands.testing import Spec, meta_for
from schemas.codec import Codec
from schemas.contracts import contracts
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
    DeploymentValidated,
    PromoteDeployment,
    ReportLoading,
    ReportUnloading,
    ReportValidation,
    RequestDeployment,
    RollBackDeployment,
    SetApprovalPolicy,
)
from schemas.errors import Problem
from schemas.evidence import evidence_sha256

CODEC = Codec({name: number for number, name in enumerate(contracts(), start=1)})
A, B = "a" * 64, "b" * 64
deployment = Spec(deployments.AGGREGATE)
D: dict[str, Any] = {"model": "movies", "deployment_id": "d"}
POLICY = ApprovalPolicySet(model="movies", approvals=2, timeout_s=3600, set_by="root")
REQUESTED = DeploymentRequested(
    **D, version=2, artifact_sha256=A, requested_by="ana", approvals_wanted=2, approval_timeout_s=3600
)
FOUND = {"validated": {"golden": "5 of 5 exact"}, "loaded": {"127.0.0.1:8001": "warmed up"}}
SEEN = evidence_sha256(FOUND)
VALIDATED = DeploymentValidated(**D, evidence=FOUND["validated"])
LOADED = DeploymentLoaded(**D, evidence=FOUND["loaded"])
ASKED = ApprovalRequested(
    **D,
    version=2,
    artifact_sha256=A,
    approvals_wanted=2,
    timeout_s=3600,
    evidence=FOUND,
    evidence_sha256=SEEN,
)
WAITING = (POLICY, REQUESTED, VALIDATED, LOADED, ASKED)
APPROVE = ApproveDeployment(**D, artifact_sha256=A, evidence_sha256=SEEN, comment="looks good")


def approved(who: str, number: int) -> DeploymentApproved:
    return DeploymentApproved(
        **D,
        version=2,
        artifact_sha256=A,
        evidence_sha256=SEEN,
        approver=who,
        comment="looks good",
        approvals=number,
        approvals_wanted=2,
    )


APPROVED = (*WAITING, approved("ben", 1), approved("eve", 2))
PROMOTED = DeploymentPromoted(**D, version=2, artifact_sha256=A)
ABORTED = DeploymentAborted(**D, step="awaiting_approval", reason="worse")
DECLINED = DeploymentDeclined(
    **D, version=2, artifact_sha256=A, evidence_sha256=SEEN, declined_by="eve", reason="worse"
)


def test_a_policy_is_set_once_for_each_change_of_mind() -> None:
    """An event says that something changed, and by whom."""
    command = SetApprovalPolicy(model="movies", approvals=2, timeout_s=3600)
    deployment.given().when(command, actor="root").then(POLICY)
    deployment.given(POLICY).when(command, actor="eve").nothing()
    deployment.given(POLICY).when(replace(command, requester_may_approve=True), actor="eve").then(
        replace(POLICY, requester_may_approve=True, set_by="eve")
    )


def test_without_a_policy_nobody_is_asked() -> None:
    """What ran before there were policies goes on as it did, and leaves the same events."""
    command = RequestDeployment(**D, version=2, artifact_sha256=A)
    asked = DeploymentRequested(**D, version=2, artifact_sha256=A, requested_by="ana")
    deployment.given().when(command).then(asked)
    loading = ReportLoading(**D, ok=True, evidence=FOUND["loaded"])
    deployment.given(asked, VALIDATED).when(loading).then(LOADED)
    deployment.given(asked, VALIDATED, LOADED).when(PromoteDeployment(**D)).then(PROMOTED)
    deployment.given(asked, VALIDATED, LOADED).when(APPROVE, actor="ben").refused("no_approval_wanted")


def test_a_request_keeps_the_policy_of_its_moment() -> None:
    """A policy that changes under way neither frees nor stops what was asked for before."""
    case = deployment.given(POLICY)
    case.when(RequestDeployment(**D, version=2, artifact_sha256=A)).then(REQUESTED)
    none = replace(POLICY, approvals=0)
    later = deployment.given(*WAITING, none)
    later.when(PromoteDeployment(**D)).refused("not_approved")
    deployment.given(none, replace(REQUESTED, approvals_wanted=0), VALIDATED, LOADED, POLICY).when(
        PromoteDeployment(**D)
    ).then(PROMOTED)


def test_a_loaded_version_shows_what_is_to_be_approved() -> None:
    """Everything that was found until then, and one hash that stands for it."""
    loading = ReportLoading(**D, ok=True, evidence=FOUND["loaded"])
    deployment.given(POLICY, REQUESTED, VALIDATED).when(loading).then(LOADED, ASKED)
    deployment.given(*WAITING).when(loading).nothing()


def test_enough_different_people_let_a_version_serve() -> None:
    """The saga's promotion is refused until the last of them, and goes through after."""
    deployment.given(*WAITING).when(APPROVE, actor="ben").then(approved("ben", 1))
    one = deployment.given(*WAITING, approved("ben", 1))
    one.when(PromoteDeployment(**D)).refused("not_approved")
    one.when(APPROVE, actor="eve").then(approved("eve", 2))
    deployment.given(*APPROVED).when(PromoteDeployment(**D)).then(PROMOTED)


def test_saying_it_again_is_saying_it_once() -> None:
    """A click too many is no second pair of eyes, at whatever step it comes."""
    for history in ((*WAITING, approved("ben", 1)), APPROVED, (*APPROVED, PROMOTED)):
        deployment.given(*history).when(APPROVE, actor="ben").nothing()
    other = replace(APPROVE, comment="still good")
    deployment.given(*WAITING, approved("ben", 1)).when(other, actor="ben").refused("approved_before")


def test_who_asked_does_not_count_unless_the_policy_says_so() -> None:
    """Four eyes are those of two people."""
    deployment.given(*WAITING).when(APPROVE, actor="ana").refused("four_eyes")
    asked = replace(REQUESTED, requester_may_approve=True)
    deployment.given(POLICY, asked, VALIDATED, LOADED, ASKED).when(APPROVE, actor="ana").then(approved("ana", 1))


def test_nobody_approves_what_they_have_not_looked_at() -> None:
    """An approval names the file and the evidence by their hashes; others are those of something else."""
    case = deployment.given(*WAITING)
    case.when(replace(APPROVE, artifact_sha256=B), actor="ben").refused("other_artifact")
    case.when(replace(APPROVE, evidence_sha256=B), actor="ben").refused("other_evidence")


@pytest.mark.parametrize(
    ("history", "code"),
    [
        (WAITING[:2], "not_loaded"),
        (WAITING[:3], "not_loaded"),
        (APPROVED, "already_approved"),
        ((*APPROVED, PROMOTED), "already_promoted"),
        ((*APPROVED, PROMOTED, DeploymentCompleted(**D)), "already_promoted"),
        ((*WAITING, DECLINED, ABORTED), "deployment_aborted"),
        ((*WAITING, ABORTED, DeploymentRolledBack(**D, version=2)), "deployment_aborted"),
    ],
)
def test_an_approval_that_comes_too_early_or_too_late_is_told_so(history: tuple[Any, ...], code: str) -> None:
    """A person who clicks has to learn where the deployment stands."""
    result = deployment.given(*history).when(APPROVE, actor="carl")
    result.refused(code)
    assert result.problem is not None
    step = deployment.given(*history).state.known["d"].step
    assert f"is {step.replace('_', ' ')}" in result.problem.detail


def test_an_unknown_deployment_cannot_be_judged() -> None:
    """A mistyped id must not look like a success."""
    deployment.given(POLICY).when(APPROVE).refused("unknown_deployment", 404)
    deployment.given(POLICY).when(DeclineDeployment(**D, reason="worse")).refused("unknown_deployment", 404)


def test_one_refusal_ends_it() -> None:
    """Whoever may approve may say no, until it serves; who said it and why is on record."""
    decline = DeclineDeployment(**D, reason="worse")
    deployment.given(*WAITING).when(decline, actor="eve").then(DECLINED, ABORTED)
    done = deployment.given(*WAITING, DECLINED, ABORTED)
    done.when(decline, actor="eve").nothing()
    done.when(decline, actor="ben").refused("deployment_aborted")
    deployment.given(*APPROVED).when(decline, actor="carl").then(
        replace(DECLINED, declined_by="carl"), replace(ABORTED, step="approved")
    )
    deployment.given(*APPROVED, PROMOTED).when(decline, actor="carl").refused("already_promoted")
    undone = DeploymentRolledBack(**D, version=2, reason="worse")
    done.when(ReportUnloading(**D)).then(undone)


def test_a_timeout_ends_waiting_and_nothing_else() -> None:
    """Time that has passed while the last approval came must not throw away what is approved."""
    lapse = RollBackDeployment(**D, step="awaiting_approval", reason="worse")
    deployment.given(*WAITING, approved("ben", 1)).when(lapse).then(ABORTED)
    deployment.given(*APPROVED).when(lapse).nothing()


PEOPLE = st.sampled_from(["ana", "ben", "carl", "deployer"])
IDS = st.sampled_from(["d1", "d2"])
HASHES = st.sampled_from([A, B])
NAMED: dict[str, Any] = {"model": st.just("m"), "deployment_id": IDS}
FLAGS = st.sampled_from([True, True, True, False])
COMMANDS: dict[str, st.SearchStrategy[Any]] = {
    "policy": st.builds(
        SetApprovalPolicy, model=st.just("m"), approvals=st.integers(0, 3), requester_may_approve=st.booleans()
    ),
    "request": st.builds(RequestDeployment, **NAMED, version=st.integers(1, 3), artifact_sha256=HASHES),
    "validate": st.builds(ReportValidation, **NAMED, ok=FLAGS, evidence=st.just(FOUND["validated"])),
    "load": st.builds(ReportLoading, **NAMED, ok=FLAGS, evidence=st.just(FOUND["loaded"])),
    "approve": st.builds(
        ApproveDeployment,
        **NAMED,
        artifact_sha256=HASHES,
        evidence_sha256=st.sampled_from([SEEN, SEEN, SEEN, B]),
        comment=st.sampled_from(["", "yes"]),
    ),
    "decline": st.builds(DeclineDeployment, **NAMED, reason=st.just("no")),
    "promote": st.builds(PromoteDeployment, **NAMED),
    "unload": st.builds(ReportUnloading, **NAMED),
    "rollback": st.builds(RollBackDeployment, **NAMED),
}
LIKELY = ["approve"] * 5 + ["promote"] * 3 + ["request", "validate", "load"] * 3
said = st.lists(
    st.tuples(st.sampled_from([*COMMANDS, *LIKELY]).flatmap(COMMANDS.__getitem__), PEOPLE), min_size=5, max_size=60
)


def history_of(commands: list[tuple[Any, str]]) -> list[Any]:
    """What comes of commands, each event as it comes back from the log."""
    state: Any = deployments.AGGREGATE.initial
    log: list[Any] = []
    for command, actor in commands:
        try:
            decided = deployments.AGGREGATE.decide(state, command, meta_for(command, actor=actor))
        except Problem:
            continue
        for event in decided:
            log.append(CODEC.decode(CODEC.encode(event)))
            state = deployments.AGGREGATE.evolve(state, log[-1])
    return log


def without_approval(log: list[Any]) -> list[str]:
    """Deployments that were promoted with fewer approvals than the policy at their request; counted from events alone.

    It knows nothing of the aggregate's state: policy, requests and approvals are gathered anew.
    """
    policy, found = (0, False), []
    asked: dict[str, tuple[int, bool, str, str]] = {}
    people: dict[str, set[str]] = {}
    for event in log:
        match event:
            case ApprovalPolicySet():
                policy = (event.approvals, event.requester_may_approve)
            case DeploymentRequested(deployment_id=id):
                asked[id], people[id] = (*policy, event.requested_by, event.artifact_sha256), set()
            case DeploymentApproved(deployment_id=id):
                _, own, requester, artifact = asked[id]
                if (own or event.approver != requester) and event.artifact_sha256 == artifact:
                    people[id].add(event.approver)
            case DeploymentPromoted(deployment_id=id) if len(people[id]) < asked[id][0]:
                found.append(id)
    return found


WAY: list[tuple[Any, str]] = [
    (SetApprovalPolicy(model="m", approvals=2), "root"),
    (RequestDeployment(model="m", deployment_id="d1", version=1, artifact_sha256=A), "ana"),
    (ReportValidation(model="m", deployment_id="d1", ok=True, evidence=FOUND["validated"]), "deployer"),
    (ReportLoading(model="m", deployment_id="d1", ok=True, evidence=FOUND["loaded"]), "deployer"),
]
YES = ApproveDeployment(model="m", deployment_id="d1", artifact_sha256=A, evidence_sha256=SEEN)
HAND = PromoteDeployment(model="m", deployment_id="d1")


@given(st.sampled_from([[], WAY]), said)
@settings(max_examples=300, deadline=None)
def test_nothing_is_promoted_without_the_approvals_wanted(
    begun: list[tuple[Any, str]], commands: list[tuple[Any, str]]
) -> None:
    """Whoever says what in whatever order, promotion by hand included."""
    assert without_approval(history_of([*begun, *commands])) == []


@pytest.mark.parametrize(
    ("module", "guard", "said"),
    [
        (deployments, "check_approved", [(HAND, "ana")]),
        (approval, "_check_person", [(YES, "ana"), (YES, "ben"), (HAND, "deployer")]),
        (approval, "_check_seen", [(replace(YES, artifact_sha256=B), "ben"), (YES, "carl"), (HAND, "deployer")]),
    ],
)
def test_each_guard_is_what_keeps_it(monkeypatch: pytest.MonkeyPatch, module: Any, guard: str, said: list[Any]) -> None:
    """Without any one of them a version would serve unapproved, so the property above is no empty one."""
    assert not any(isinstance(event, DeploymentPromoted) for event in history_of([*WAY, *said]))
    monkeypatch.setattr(module, guard, lambda *_: None)
    log = history_of([*WAY, *said])
    assert any(isinstance(event, DeploymentPromoted) for event in log)
    assert without_approval(log) == (["d1"] if guard != "_check_seen" else []), "what was seen only the person knows"
