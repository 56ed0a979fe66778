"""Who let a version serve, on what evidence, and whether that is what the policy of its model asks for.

Nothing here believes what an event concludes: approvals are counted again, the hash of the evidence is computed again
from the steps that it was found at, and what a request says of the policy is held against the policy in the log.
"""

from collections.abc import Iterator
from typing import Any

from inference.report.approvals import Approval, Policy, Request
from inference.report.rollouts import Deployment
from inference.report.wording import count, listed
from schemas.evidence import evidence_sha256

SHOWN = ("validated", "loaded")
"""Steps whose findings an approver is shown."""

Json = dict[str, Any]


def found_by_step(deployment: Deployment) -> dict[str, dict[str, str]]:
    """What was found at the steps before the approval, as their own events say it."""
    steps = {name: deployment.step(name) for name in SHOWN}
    return {name: dict(step.evidence) for name, step in steps.items() if step is not None}


def counted(deployment: Deployment) -> Iterator[tuple[Approval, str]]:
    """Each approval, and why it does not count; an empty text when it does."""
    stands = evidence_sha256(found_by_step(deployment))
    before: set[str] = set()
    for one in deployment.approvals:
        why = _against(deployment, one, stands, before)
        if not why:
            before.add(one.by)
        yield one, why


def _against(deployment: Deployment, one: Approval, stands: str, before: set[str]) -> str:
    if one.is_late:
        return "came after the promotion"
    if one.artifact_sha256 != deployment.artifact_sha256:
        return "is of another artifact"
    if one.evidence_sha256 != stands:
        return "is on other evidence than what was found"
    if one.by == deployment.requested_by and not deployment.requester_may_approve:
        return "is of the one who asked for the deployment"
    return "is of somebody who had approved before" if one.by in before else ""


def faults(deployment: Deployment) -> list[str]:
    """How a version went live against the policy of its model; nothing for one that did not, or not against it."""
    if deployment.step("promoted") is None:
        return []
    policy = deployment.policy.approvals if deployment.policy else 0
    wanted = max(policy, deployment.wanted)
    valid = sum(not why for _, why in counted(deployment))
    found = []
    if valid < wanted:
        found.append(f"{valid} of {count(wanted, 'approval')} wanted had been given when it went live")
    if deployment.wanted != policy:
        asked = f"the policy in force when it was asked for wanted {count(policy, 'approval')}"
        found.append(f"{asked}, the request says {deployment.wanted}")
    if deployment.policy and deployment.requester_may_approve and not deployment.policy.requester_may_approve:
        found.append("its request lets the one who asked approve, the policy in force did not")
    return found


def outcome(deployment: Deployment) -> str:
    """How the approval of a deployment stands, in one word."""
    if faults(deployment):
        return "unapproved"
    if deployment.declined is not None:
        return "declined"
    if not deployment.wanted:
        return "none_wanted"
    if sum(not why for _, why in counted(deployment)) >= deployment.wanted:
        return "approved"
    if deployment.step("aborted") is not None:
        return "given_up" if deployment.asked is None else "not_approved"
    return "not_asked" if deployment.asked is None else "waiting"


def in_words(deployment: Deployment) -> str:
    """How the approval of a deployment stands, in one sentence."""
    valid = [one.by for one, why in counted(deployment) if not why]
    match outcome(deployment):
        case "unapproved":
            return f"Went live against the policy of its model: {listed(faults(deployment))}."
        case "declined" if deployment.declined is not None:
            return _closed(f"Declined by {deployment.declined.by}: {deployment.declined.reason}")
        case "none_wanted":
            why = "the policy of its model asked for none" if deployment.policy else "its model had no policy"
            return f"No approval was wanted: {why}."
        case "approved":
            return f"Approved by {listed(valid)}, {len(valid)} of {deployment.wanted} wanted."
        case "not_approved":
            aborted = deployment.step("aborted")
            return _closed(f"Not approved, {len(valid)} of {deployment.wanted}: {aborted.reason if aborted else ''}")
        case "given_up":
            return "Given up before anybody was asked to approve it."
        case "not_asked":
            return "Not loaded yet, so nobody has been asked to approve it."
        case _:
            return f"Waits for approval: {len(valid)} of {deployment.wanted} given."


def _closed(sentence: str) -> str:
    """With a full stop, which people leave out."""
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def approval_fields(deployment: Deployment) -> Json:
    """Policy, approvals and what was shown, with the record that says each."""
    policy, asked, declined = deployment.policy, deployment.asked, deployment.declined
    return {
        "outcome": outcome(deployment),
        "text": in_words(deployment),
        "wanted": deployment.wanted,
        "requester_may_approve": deployment.requester_may_approve,
        "timeout_s": deployment.timeout_s,
        "policy": None if policy is None else policy_fields(policy),
        "asked": None if asked is None else _asked_fields(deployment, asked),
        "given": [_given_fields(one, why) for one, why in counted(deployment)],
        "declined": None
        if declined is None
        else {
            "by": declined.by,
            "at": declined.at.isoformat(),
            "reason": declined.reason,
            "evidence": [declined.position],
        },
    }


def policy_fields(policy: Policy) -> Json:
    """A policy, with who set it."""
    return {
        "approvals": policy.approvals,
        "requester_may_approve": policy.requester_may_approve,
        "timeout_s": policy.timeout_s,
        "reason": policy.reason,
        "by": policy.set_by,
        "at": policy.at.isoformat(),
        "evidence": [policy.position],
    }


def _asked_fields(deployment: Deployment, asked: Request) -> Json:
    hashes = {asked.evidence_sha256, evidence_sha256(asked.evidence), evidence_sha256(found_by_step(deployment))}
    return {
        "shown": {step: dict(sorted(found.items())) for step, found in asked.evidence.items()},
        "evidence_sha256": asked.evidence_sha256,
        "as_found": len(hashes) == 1,
        "evidence": [asked.position],
    }


def _given_fields(one: Approval, why: str) -> Json:
    return {
        "by": one.by,
        "at": one.at.isoformat(),
        "comment": one.comment,
        "artifact_sha256": one.artifact_sha256,
        "evidence_sha256": one.evidence_sha256,
        "counts": not why,
        "why_not": why,
        "evidence": [one.position],
    }
