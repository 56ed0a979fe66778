"""The topics' declarations."""

from schemas.topics import DECIDED, FACTS, TOPICS


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
