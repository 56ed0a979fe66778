"""Questions to the brokers outlast a change of leaders, and nothing else."""

import pytest
from aiokafka.errors import KafkaError, NotLeaderForPartitionError, OffsetOutOfRangeError

from infra.kafka import patience
from infra.kafka.patience import answered
from schemas.errors import Unavailable


class Brokers:
    """Say what they are told to say, one thing after another, and then nothing for ever.

    Attributes:
        learned: how often somebody asked who leads what.
    """

    def __init__(self, *says: str | KafkaError) -> None:
        self.learned = 0
        self._says = list(says)

    async def force_metadata_update(self) -> None:
        self.learned += 1

    async def once(self) -> str | None:
        said = self._says.pop(0) if self._says else None
        if isinstance(said, KafkaError):
            raise said
        return said


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once."""
    monkeypatch.setattr(patience, "RETRY_S", 0.001)


async def test_a_topic_whose_leader_does_not_know_yet_that_it_leads() -> None:
    """Given a topic made a moment ago, when its leader refuses, then it is looked up and asked again."""
    brokers = Brokers(NotLeaderForPartitionError(), NotLeaderForPartitionError(), "here")

    assert await answered(brokers, "offset 0", brokers.once) == "here"

    assert brokers.learned == 2


async def test_what_no_waiting_changes_is_said_at_once() -> None:
    """Given an offset that is gone, when it is asked for, then nobody asks twice: the archive may have it."""
    brokers = Brokers(OffsetOutOfRangeError(), "never reached")

    with pytest.raises(OffsetOutOfRangeError):
        await answered(brokers, "offset 0", brokers.once)

    assert brokers.learned == 0


async def test_brokers_that_stay_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no answer, when the patience is over, then the error says what was asked for and why it did not come."""
    monkeypatch.setattr(patience, "SILENCE_S", 0.3)
    brokers = Brokers(*[NotLeaderForPartitionError() for _ in range(10_000)])

    with pytest.raises(Unavailable, match=r"offset 7 did not come in .*NotLeader"):
        await answered(brokers, "offset 7", brokers.once)
