"""Runs sagas: hears their events, says their commands, remembers nothing that the log does not.

At each start, and whenever partitions move, the state is folded again from the first event. An event that an earlier
run has dealt with leads to nothing but its `Later`s, unless the log has their answer already. An event counts as dealt
with when its commands have been answered; until then it is heard again, and its commands have the same ids.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from inference.client import CommandClient
from inference.follower import Batch, Follower
from inference.saga import Due, Progress, Saga, due, hear
from infra.health import Health
from infra.kafka.records import Decoder
from infra.settings import Settings
from schemas.errors import Problem, Unavailable

RETRY_S = 1.0

log = structlog.get_logger()


class Runner:
    """What one saga is doing.

    Args:
        saga: the declaration.
        client: takes its commands.
    """

    def __init__(self, saga: Saga[Any], client: CommandClient) -> None:
        self._saga = saga
        self._client = client
        self._progress: Progress[Any] = Progress()
        self._sent: set[UUID] = set()

    def hear(self, batch: Batch) -> None:
        """Fold what was heard."""
        if batch.restarted:
            self._progress = Progress()
            self._sent.clear()
        for heard in batch.events:
            self._progress = hear(self._saga, self._progress, heard.recorded, handled=heard.handled)
        self._sent &= self._progress.pending.keys()

    def due(self) -> Sequence[Due]:
        """The commands to be said now."""
        return [d for d in due(self._progress, datetime.now(UTC)) if d.id not in self._sent]

    async def say(self, command: Due) -> None:
        """Send one command; that it was refused is an answer too.

        Raises:
            Unavailable: there was no answer; say it again.
        """
        said = {"saga": self._saga.name, "command": type(command.command).__name__, "subject": command.cause.subject}
        try:
            await self._client.send(command.command, key=command.key, correlation_id=command.cause.correlation_id)
            log.info("saga spoke", **said)
        except Problem as problem:
            if problem.retriable:
                raise
            log.warning("saga's command was refused", **said, code=problem.code, detail=problem.detail)
        self._sent.add(command.id)


async def run_saga(
    saga: Saga[Any], settings: Settings, decoder: Decoder, client: CommandClient, health: Health
) -> None:
    """Run one saga until cancelled.

    Raises:
        Incompatible: an event cannot be read; nothing is skipped.
    """
    name, group = f"saga {saga.name}", f"saga.{saga.name}.{settings.tenant}"
    async with Follower(settings, decoder, group=group, topic=saga.topic) as follower:
        runner = Runner(saga, client)
        behind = False
        while True:
            try:
                batch = await follower.poll()
                runner.hear(batch)
                behind = behind or bool(batch.events)
                if batch.caught_up:
                    for command in runner.due():
                        await runner.say(command)
                    if behind:
                        await follower.commit()
                        behind = False
                health.ok(name)
            except Unavailable as problem:
                health.failed(name, problem.detail)
                await asyncio.sleep(RETRY_S)
