"""How commands come to the owner of their partition."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition

from commands.processor import worker
from commands.processor.inbox import Inbox
from commands.processor.worker import Flow
from infra.kafka.records import Raw
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.topics import TOPICS

AT = TopicPartition("profiles.commands", 0)


class Consumer:
    """One that has nothing to tell."""

    def seek(self, at: TopicPartition, offset: int) -> None: ...

    def resume(self, at: TopicPartition) -> None: ...


async def test_commands_that_came_before_a_fault_are_not_decided_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive fails halfway and is read again from where nobody has decided yet."""
    attempts = 0

    async def recall(
        _: Settings, __: Any, ___: Any, take: Callable[[TopicPartition, Sequence[Raw]], Awaitable[None]]
    ) -> None:
        nonlocal attempts
        attempts += 1
        await take(AT, [Raw(TOPICS["profiles.commands"], 0, number, "u", b"", (), 0) for number in range(2)])
        if attempts == 1:
            raise Unavailable("the archive is away")

    monkeypatch.setattr(worker, "recall", recall)
    flow, inbox = Flow(Settings(), Consumer(), AT), Inbox()
    with pytest.raises(Unavailable):
        await flow.open_at(0, inbox)
    await flow.open_at(0, inbox)
    assert [raw.offset for raw in await inbox.take(0)] == [0, 1]
