"""The topics' declarations."""

from typing import Any

import pytest

from schemas.contracts import Contract
from schemas.topics import DECIDED, FACTS, TOPICS, named


def contract(name: str, kind: str, topic: str, **more: Any) -> Contract:
    return Contract({"name": name, "namespace": "retrace.n", "kind": kind, "topic": topic, **more}, "n")


def test_a_contract_on_a_new_topic_makes_the_topic() -> None:
    """Whoever adds an aggregate edits no list of topics."""
    found = named([contract("Seen", "event", "sights", fact=True), contract("Do", "command", "deeds")])
    assert {name: topic.kind for name, topic in found.items()} == {
        "deeds": "decided",
        "deeds.commands": "commands",
        "sights": "facts",
    }


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (contract("Done", "event", "deedz"), "takes no command: correct its topic"),
        (contract("Done", "event", "deeds", fact=True), "is a fact, and 'deeds' takes commands"),
        (contract("Done", "event", "Deeds!"), "is no topic"),
        (contract("Done", "event", "deeds.commands"), "is no topic"),
    ],
)
def test_a_misspelt_topic_is_refused_by_name(event: Contract, told: str) -> None:
    """It would be a topic of its own, that nobody reads."""
    with pytest.raises(ValueError, match=f"retrace.n.Done.*{told}"):
        named([contract("Do", "command", "deeds"), event])


def test_a_retired_event_may_stand_anywhere() -> None:
    """Old facts were written before anybody said so in a contract."""
    assert named([contract("Old", "event", "sights", retired=True)])["sights"].kind == "facts"


def test_the_topics_of_existing_logs_keep_their_names() -> None:
    """A renamed topic is an empty log."""
    assert {"access", "catalog", "deployments", "models", "profiles", "schedules"} <= set(DECIDED)
    facts = {"audit", "dead-letters", "decisions", "features", "interactions", "serving", "uploads", "usage"}
    assert facts <= set(FACTS)


def test_every_decided_topic_has_commands_beside_it() -> None:
    """The processor of partition i of the commands writes partition i of the events."""
    for name in DECIDED:
        assert TOPICS[name].is_decided
        assert TOPICS[TOPICS[name].commands].kind == "commands"


def test_the_rule_applies_to_decided_topics_alone() -> None:
    """A fact topic under the rule would be empty to every reader."""
    assert {name for name, topic in TOPICS.items() if topic.is_decided} == set(DECIDED)
    assert all(TOPICS[name].kind == "facts" for name in FACTS)


def test_names_are_their_keys_and_legal_in_kafka() -> None:
    """A topic that the brokers refuse is found here."""
    for name, topic in TOPICS.items():
        assert topic.name == name
        assert len(name) < 150
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz-.")
