"""An explanation as plain values: what `-o json` prints and the HTTP API answers."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from inference.explaining.explain import Explanation
from inference.explaining.rebuild import Known
from inference.explaining.whatif import Hypothesis
from schemas.codec import as_fields

FALLBACKS = {
    "no_consent": "the user had withdrawn consent to personalisation",
    "no_model": "no version of the model served",
    "new_user": "the user was registered and had no history",
    "unknown_user": "nothing was known of the user",
    "unknown_items": "the model knew none of the items in the history",
    "nothing_left": "nothing was left of the model's candidates after the filters",
    "history_unavailable": "the read models could not be read in time",
}
"""Reasons for a fallback in words; others are codes of problems with Triton."""


def statement(explanation: Explanation) -> dict[str, Any]:
    """Everything that an explanation says."""
    remade, decision = explanation.remade, explanation.decision
    return {
        "verdict": verdict(explanation),
        "identical": explanation.identical,
        "made_again": remade is not None,
        "differences": list(explanation.differences),
        "position": explanation.position,
        "decision": as_fields(decision),
        "fallback": because(decision.fallback_reason),
        "remade": None if remade is None else asdict(remade),
        "interactions": [] if explanation.known is None else list(interactions(explanation.known)),
        "read": [asdict(way) for way in explanation.ways],
        "hypothesis": None if explanation.hypothesis is None else supposition(explanation.hypothesis),
    }


def verdict(explanation: Explanation) -> str:
    """`identical`, `different` or `not_verified`: the last where the answer could not be made again."""
    if explanation.remade is None:
        return "not_verified"
    return "identical" if explanation.identical else "different"


def because(reason: str | None) -> str | None:
    """A reason for a fallback in words."""
    return None if reason is None else FALLBACKS.get(reason, f"the model did not answer: {reason.replace('_', ' ')}")


def interactions(known: Known) -> Iterable[dict[str, Any]]:
    """The inputs: every interaction with its place, in the order of the log."""
    for row in known.interactions:
        yield {
            "position": str(known.position(row)),
            "event_id": str(row.event_id),
            "item_id": row.item_id,
            "kind": row.kind,
            "occurred_at": row.occurred_at.isoformat(),
        }


def supposition(hypothesis: Hypothesis) -> dict[str, Any]:
    """A supposed answer. It is marked as one, since nobody was ever answered it."""
    return {
        "hypothetical": True,
        **asdict(hypothesis),
        "came_in": list(hypothesis.came_in),
        "went_out": list(hypothesis.went_out),
    }
