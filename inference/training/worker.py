"""The role that trains: takes runs from the log in their order, and reports by command.

It keeps nothing. Every trainer hears all runs, and a consumer group shares the installation's places among those that
are there. A run that was begun in a place and has no end in the log is done again by whoever holds the place, from the
data that its start fixed, which gives the same artifact.
"""

import asyncio
import os
import socket
from collections.abc import Iterable

import structlog

from inference.client import CommandClient
from inference.follower import Batch, Follower
from inference.training.carrying import Carrier
from inference.training.places import Plan, Waiting, plan
from inference.training.runs import NO_RUNS, Run, RunKey, Runs, evolve
from infra.health import Health
from infra.kafka.membership import Share, join
from infra.kafka.watch import watched
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Problem
from schemas.models import QueueTraining, TrainingCancelled

ACTOR = "trainer"
TOPIC = "models"
RETRY_S = 1.0

log = structlog.get_logger()


async def work(settings: Settings, health: Health) -> None:
    """Train what is asked for until cancelled."""
    health.failed("runs", "reading the log")
    decoder = await open_decoder(settings)
    async with (
        CommandClient(settings, actor=ACTOR) as client,
        join(settings, f"trainers.{settings.tenant}", [TOPIC]) as share,
        Follower(settings, decoder, group=None, topic=TOPIC) as follower,
        watched(settings, health, TOPIC),
        asyncio.TaskGroup() as group,
    ):
        group.create_task(Trainer(settings, client, health, share).run(follower))
        if settings.openlineage.file is not None or settings.openlineage.url is not None:
            from inference.lineage.emitter import emit  # its libraries are many, and most installations tell nobody

            group.create_task(emit(settings, decoder, health))


def worker_name() -> str:
    """What the log and its readers call this process."""
    return f"{socket.gethostname()}/{os.getpid()}"


class Trainer:
    """Folds the runs, and carries out those whose places it holds.

    Args:
        share: of the partitions of the topic; who holds a partition holds the places that fall to it.
    """

    def __init__(self, settings: Settings, client: CommandClient, health: Health, share: Share) -> None:
        self._settings = settings
        self._options = settings.trainer
        self._client = client
        self._health = health
        self._share = share
        self._runs: Runs = NO_RUNS
        self._ended: set[tuple[RunKey, int]] = set()
        self._carried: dict[int, tuple[Run, Carrier, asyncio.Task[None]]] = {}
        self._told: set[tuple[RunKey, int]] = set()

    async def run(self, follower: Follower) -> None:
        """Hear and work, for ever.

        Raises:
            Incompatible: an event cannot be read; nothing is skipped.
        """
        try:
            while True:
                await self._step(follower)
        finally:
            await self._stop()

    async def _step(self, follower: Follower) -> None:
        try:
            batch = await follower.poll()
            self._hear(batch)
            if batch.caught_up:
                await self._steer()
            self._health.ok("log")
        except Problem as problem:
            if not problem.retriable:
                raise
            self._health.failed("log", problem.detail)
            await asyncio.sleep(RETRY_S)

    def _hear(self, batch: Batch) -> None:
        if batch.restarted:
            self._runs = NO_RUNS
        for heard in batch.events:
            self._runs = evolve(self._runs, heard.recorded.event, heard.recorded.meta)

    async def _steer(self) -> None:
        """End what is over, begin what is next, and say who waits."""
        known = {key: run for key, run in self._runs.items() if (key, run.attempt) not in self._ended}
        found = plan(known, self._options.at_once, self._options.per_model)
        mine = set(self._places())
        for place, (run, _, task) in list(self._carried.items()):
            if task.done():
                del self._carried[place]
                if not task.cancelled():
                    task.result()
            elif (place not in mine or self._is_over(run)) and not task.cancelling():
                log.info("run is left", run_id=run.run_id, place=place)
                task.cancel()  # it keeps its place until its process is gone
        for place in sorted(mine - self._carried.keys()):
            if place in found.jobs:
                self._take(place, found.jobs[place])
        await self._tell_waiting(found, mine)
        self._say(found, mine)

    def _places(self) -> Iterable[int]:
        """The places that are ours: each falls to one partition."""
        count = self._settings.kafka.partitions
        partitions = self._share.of(TOPIC)
        return (place for place in range(self._options.at_once) if place % count in partitions)

    def _is_over(self, run: Run) -> bool:
        """Whether there is nothing left to work for. What has completed or failed ends by itself, once it is told."""
        now = self._runs.get(run.key)
        return now is None or now.attempt != run.attempt or isinstance(now.outcome, TrainingCancelled)

    def _take(self, place: int, run: Run) -> None:
        carrier = Carrier(self._settings, self._client, worker_name(), run, place)
        self._carried[place] = (run, carrier, asyncio.create_task(self._carry(run, carrier)))

    async def _carry(self, run: Run, carrier: Carrier) -> None:
        """Work on a run, again while something that it needs is away."""
        while True:
            try:
                if await carrier.work():
                    self._ended.add((run.key, run.attempt))
                else:
                    await asyncio.sleep(RETRY_S)  # the log says why; it may not have been heard yet
                return
            except Problem as problem:
                if not problem.retriable:
                    raise
                carrier.note = f"waits: {problem.detail}"
                log.warning("run waits", run_id=run.run_id, cause=problem.detail)
                await asyncio.sleep(RETRY_S)

    async def _tell_waiting(self, found: Plan, mine: set[int]) -> None:
        """Put on record which runs wait; one of the trainers does it for all."""
        for one in found.waiting if 0 in mine else ():
            run = one.run
            if run.queued or (run.key, run.attempt) in self._told:
                continue
            await self._client.send(_queue(one), correlation_id=run.correlation_id)
            self._told.add((run.key, run.attempt))

    def _say(self, found: Plan, mine: set[int]) -> None:
        """Tell in health what goes on here."""
        here = [f"run {run.run_id} ({carrier.note})" for run, carrier, _ in self._carried.values()]
        waiting = [f"{len(found.waiting)} wait"] if found.waiting else []
        nothing = "nothing to do" if mine else "no place is held here: other trainers work"
        self._health.ok("runs", "; ".join([*here, *waiting]) or nothing)

    async def _stop(self) -> None:
        tasks = [task for _, _, task in self._carried.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _queue(waiting: Waiting) -> QueueTraining:
    run = waiting.run
    return QueueTraining(
        model=run.model, run_id=run.run_id, attempt=run.attempt, ahead=waiting.ahead, reason=waiting.reason
    )
