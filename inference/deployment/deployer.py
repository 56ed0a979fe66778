"""The worker that touches the world: makes the Triton servers as the deployments say, and reports by command.

The role `deployer` runs it beside the sagas. It keeps nothing: at each start the log says what is to be done.
"""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, assert_never

import structlog

import inference.sagas
from inference.client import CommandClient
from inference.deployment.placement import Job, Placement, Version, evolve, wanted
from inference.deployment.registered import registry_says
from inference.deployment.runner import run_saga
from inference.deployment.servers import Servers
from inference.follower import Batch, Follower
from inference.saga import Saga
from infra.discover import discover
from infra.ending import ended
from infra.health import Health
from infra.kafka.records import Decoder
from infra.kafka.watch import watched
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.contracts import contracts
from schemas.deployments import ReportLoading, ReportUnloading, ReportValidation
from schemas.errors import Problem, TimedOut, Unavailable

ACTOR = "deployer"
TOPIC = "deployments"
LONGEST_REASON = 2000
RETRY_S = 1.0

Report: TypeAlias = ReportValidation | ReportLoading | ReportUnloading

log = structlog.get_logger()


class Worker:
    """Does the job of each model's deployment, one model beside another.

    Args:
        settings: waiting times.
        servers: the Triton servers.
        client: takes the reports.
        health: is told what does not work.
    """

    def __init__(self, settings: Settings, servers: Servers, client: CommandClient, health: Health) -> None:
        self._settings = settings
        self._options = settings.deployer
        self._servers = servers
        self._client = client
        self._health = health
        self._caught_up = False
        self._placements: dict[str, Placement] = {}
        self._tasks: dict[str, tuple[Job | None, asyncio.Task[None]]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def hear(self, batch: Batch) -> None:
        """Fold what was heard."""
        self._caught_up = batch.caught_up
        if batch.restarted:
            self._placements = {}
        for heard in batch.events:
            event, meta = heard.recorded.event, heard.recorded.meta
            if not contracts()[event.AVRO].is_outcome:
                before = self._placements.get(meta.subject, Placement())
                self._placements[meta.subject] = evolve(before, event, meta)

    def steer(self) -> None:
        """Begin what has to be done now, and end what has not."""
        for model in self._placements.keys() | self._tasks.keys():
            job = self._placements.get(model, Placement()).job
            current, task = self._tasks.get(model, (None, None))
            if job == current:
                continue
            if task is not None:
                task.cancel()
            self._tasks[model] = (job, asyncio.create_task(self._work(model, job)))

    async def stop(self) -> None:
        """End everything; the next run goes on."""
        await ended(*(task for _, task in self._tasks.values()))

    async def repair(self) -> None:
        """Load again what should serve and is not there, on a server that was restarted for example."""
        for model, placement in list(self._placements.items()):
            for version in wanted(placement):
                async with self._locks[model]:
                    if self._wants(model, version) and (lacking := await self._servers.lacking(version)):
                        log.warning("version is missing", name=version.name, servers=lacking)
                        log.info("version is back", **await self._servers.bring(version))

    def _wants(self, model: str, version: Version) -> bool:
        """Whether a version should serve, as far as that is known: not while the log is read anew."""
        return self._caught_up and version in wanted(self._placements.get(model, Placement()))

    async def _work(self, model: str, job: Job | None) -> None:
        """Do a job again and again, until the log says that it is done and `steer` ends this."""
        name = f"deployment of {model}"
        if name in self._health.components:
            self._health.ok(name)  # what went wrong before was at another step
        while job is not None:
            if job.task == "retire":
                await _until(job.since + timedelta(seconds=self._options.grace_s))
            try:
                async with self._locks[model]:
                    await self._do(job)
                self._health.ok(name)
            except (Problem, OSError) as fault:
                log.warning("step is not done yet", task=job.task, name=job.version.name, cause=str(fault))
                self._health.failed(name, str(fault))
            await asyncio.sleep(self._options.retry_s)

    async def _do(self, job: Job) -> None:
        log.info("step", task=job.task, name=job.version.name, deployment_id=job.deployment_id)
        await self._client.send(await self._report(job), correlation_id=job.correlation_id)

    async def _report(self, job: Job) -> Report:
        """Do what the job says; what came out."""
        match job.task:
            case "validate":
                return await self._validate(job)
            case "load":
                return await self._load(job)
            case "retire" | "withdraw":
                return await self._remove(job)
            case _:
                assert_never(job.task)

    async def _validate(self, job: Job) -> ReportValidation:
        evidence: dict[str, str] = {}
        try:
            evidence, faults = await self._servers.check(job.version)
            told, against = await registry_says(self._settings, job.version)
            evidence |= told
            faults += against
        except Problem as problem:
            faults = [_final(problem)]
        evidence["artifact_sha256"] = job.version.artifact_sha256
        return ReportValidation(
            model=job.version.model,
            deployment_id=job.deployment_id,
            ok=not faults,
            evidence=evidence,
            reason="; ".join(faults)[:LONGEST_REASON],
        )

    async def _load(self, job: Job) -> ReportLoading:
        evidence: dict[str, str] = {}
        reason = ""
        try:
            evidence = await self._servers.bring(job.version)
        except Problem as problem:
            reason = _final(problem)[:LONGEST_REASON]
        return ReportLoading(
            model=job.version.model, deployment_id=job.deployment_id, ok=not reason, evidence=evidence, reason=reason
        )

    async def _remove(self, job: Job) -> ReportUnloading:
        evidence = {"unloaded": ", ".join(job.removes) or "nothing was loaded"}
        for name in job.removes:
            evidence |= await self._servers.remove(name)
        return ReportUnloading(model=job.version.model, deployment_id=job.deployment_id, evidence=evidence)


def _final(problem: Problem) -> str:
    """What speaks against the version; a fault that may pass is raised again instead.

    Raises:
        Problem: the same, when trying again may help.
    """
    if problem.retriable:
        raise problem
    return problem.detail


async def _until(moment: datetime) -> None:
    await asyncio.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


async def run_worker(settings: Settings, decoder: Decoder, client: CommandClient, health: Health) -> None:
    """Make the servers as the deployments say, until cancelled.

    Raises:
        Incompatible: an event cannot be read; nothing is skipped.
    """
    group = f"{ACTOR}.{settings.tenant}"
    async with Servers(settings) as servers, Follower(settings, decoder, group=group, topic=TOPIC) as follower:
        worker = Worker(settings, servers, client, health)
        try:
            await asyncio.gather(_follow(worker, follower, health), _keep(worker, settings, health))
        finally:
            await worker.stop()


async def _follow(worker: Worker, follower: Follower, health: Health) -> None:
    while True:
        try:
            batch = await follower.poll()
            worker.hear(batch)
            if batch.caught_up:
                worker.steer()
                if batch.events:
                    await follower.commit()
            health.ok("log")
        except Unavailable as problem:
            health.failed("log", problem.detail)
            await asyncio.sleep(RETRY_S)


async def _keep(worker: Worker, settings: Settings, health: Health) -> None:
    """Look every now and then whether what should serve is there."""
    while True:
        try:
            await worker.repair()
            health.ok("triton")
        except (Problem, OSError) as fault:
            health.failed("triton", str(fault))
        await asyncio.sleep(settings.deployer.reconcile_s)


async def work(settings: Settings, health: Health) -> None:
    """The role `deployer`: every saga, and the worker."""
    decoder = await _opened(settings, health)
    sagas = discover(inference.sagas, Saga).values()
    async with (
        CommandClient(settings, actor=ACTOR) as client,
        watched(settings, health, TOPIC),
        asyncio.TaskGroup() as group,
    ):
        group.create_task(run_worker(settings, decoder, client, health))
        for saga in sagas:
            group.create_task(run_saga(saga, settings, decoder, client, health))


async def _opened(settings: Settings, health: Health) -> Decoder:
    """The decoder, as soon as Kafka and the registry are there."""
    while True:
        try:
            decoder = await open_decoder(settings)
        except (Unavailable, TimedOut) as problem:
            health.failed("log", problem.detail)
            await asyncio.sleep(RETRY_S)
        else:
            health.ok("log")
            return decoder
