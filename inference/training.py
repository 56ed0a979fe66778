"""The worker that trains: takes runs from the log one after another, and reports by command.

It keeps nothing. A run that was begun and has no end in the log is done again from the data that its start fixed, which
gives the same artifact; the reports of one run carry the same idempotency keys, so saying them twice does no harm.
"""

import asyncio
import time
from typing import TypeAlias
from uuid import UUID, uuid5

import structlog
from prometheus_client import Counter, Histogram

from inference.client import CommandClient
from inference.dataset import fixed_ranges
from inference.fitting import Fitted, fit_on_log
from inference.follower import Batch, Follower
from inference.runs import NO_RUNS, Run, Runs, evolve, waiting
from inference.shelf import keep
from inference.store import ArtifactStore
from infra.health import Health
from infra.kafka.records import Decoder
from infra.kafka.replay import Progress
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Problem
from schemas.models import CompleteTraining, FailTraining, OffsetRange, StartTraining

ACTOR = "trainer"
NAMESPACE = UUID("5a0e4f0c-5d8f-5f0a-9a3e-7a3c1d6f9b70")
LONGEST_REASON = 2000
RETRY_S = 1.0

Report: TypeAlias = StartTraining | CompleteTraining | FailTraining

RUNS = Counter("retrace_training_runs_total", "Training runs ended, by how.", ["algorithm", "outcome"])
RUN_SECONDS = Histogram(
    "retrace_training_run_seconds",
    "Time from the start of a run to its report.",
    ["algorithm"],
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 1800),
)

log = structlog.get_logger()


async def work(settings: Settings, health: Health) -> None:
    """Train what is asked for until cancelled."""
    health.failed("runs", "reading the log")
    decoder = await open_decoder(settings)
    async with (
        CommandClient(settings, actor=ACTOR) as client,
        Follower(settings, decoder, group=ACTOR, topic="models") as follower,
    ):
        await Trainer(settings, decoder, client, health).run(follower)


class Trainer:
    """Folds the runs and works on one at a time."""

    def __init__(self, settings: Settings, decoder: Decoder, client: CommandClient, health: Health) -> None:
        self._settings = settings
        self._decoder = decoder
        self._client = client
        self._health = health
        self._store = ArtifactStore(settings)
        self._runs: Runs = NO_RUNS
        self._ended: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._heard = asyncio.Condition()

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
        except Problem as problem:
            if not problem.retriable:
                raise
            self._health.failed("log", problem.detail)
            await asyncio.sleep(RETRY_S)
            return
        self._health.ok("log")
        await self._hear(batch)
        if batch.caught_up:
            self._begin()

    async def _hear(self, batch: Batch) -> None:
        if batch.restarted:
            await self._stop()
            self._runs = NO_RUNS
            self._ended.clear()
        for heard in batch.events:
            self._runs = evolve(self._runs, heard.recorded.event, heard.recorded.meta)
        async with self._heard:
            self._heard.notify_all()

    def _begin(self) -> None:
        """Begin the next run, unless one is under way."""
        if self._task is not None and self._task.done():
            self._task.result()
            self._task = None
        run = waiting({run_id: run for run_id, run in self._runs.items() if run_id not in self._ended})
        if self._task is None and run is not None:
            self._task = asyncio.create_task(self._finish(run))
        elif self._task is None:
            self._health.ok("runs", "nothing to do")

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _finish(self, run: Run) -> None:
        """Work on a run, again while something that it needs is away, until its end is reported."""
        bound = {"run_id": run.run_id, "model": run.model, "algorithm": run.algorithm}
        with structlog.contextvars.bound_contextvars(correlation_id=run.correlation_id, **bound):
            while run.run_id not in self._ended:
                try:
                    await self._report(run, await self._outcome(run))
                    self._ended.add(run.run_id)
                except Problem as problem:
                    if not problem.retriable:
                        raise
                    self._health.failed("runs", f"run {run.run_id}: {problem.detail}")
                    log.warning("run waits", cause=problem.detail)
                    await asyncio.sleep(RETRY_S)

    async def _outcome(self, run: Run) -> CompleteTraining | FailTraining:
        """Do the run.

        Raises:
            Problem: something it needs is away; trying again may help.
        """
        started = time.perf_counter()
        self._health.ok("runs", f"run {run.run_id}: fits {run.algorithm}")
        try:
            fitted = await self._fit(run, await self._ranges(run))
            outcome: CompleteTraining | FailTraining = await asyncio.to_thread(self._stored, run, fitted, started)
        except Problem as problem:
            if problem.retriable:
                raise
            outcome = FailTraining(model=run.model, run_id=run.run_id, reason=problem.detail[:LONGEST_REASON])
        RUN_SECONDS.labels(run.algorithm).observe(time.perf_counter() - started)
        RUNS.labels(run.algorithm, type(outcome).__name__).inc()
        log.info("run ended", outcome=type(outcome).__name__, seconds=round(time.perf_counter() - started, 3))
        return outcome

    async def _ranges(self, run: Run) -> tuple[OffsetRange, ...]:
        """What the run reads: fixed by its start, so that doing it again reads the same."""
        if run.ranges is not None:
            return run.ranges
        ranges = await fixed_ranges(self._settings, run.asked)
        await self._report(run, StartTraining(model=run.model, run_id=run.run_id, ranges=ranges))
        return await self._heard_ranges(run.run_id)

    async def _heard_ranges(self, run_id: str) -> tuple[OffsetRange, ...]:
        """The ranges on record, which an earlier start of the same run may have fixed."""
        async with self._heard:
            await self._heard.wait_for(lambda: self._runs[run_id].ranges is not None)
        return self._runs[run_id].ranges or ()

    async def _fit(self, run: Run, ranges: tuple[OffsetRange, ...]) -> Fitted:
        def report(progress: Progress) -> None:
            self._health.ok("runs", f"run {run.run_id}: {progress.done} of {progress.total} records read")

        return await fit_on_log(self._settings, self._decoder, ranges, run.algorithm, run.params, run.k, report)

    def _stored(self, run: Run, fitted: Fitted, started: float) -> CompleteTraining:
        keep(self._settings, fitted.dataset)
        manifest = fitted.dataset.manifest
        return CompleteTraining(
            model=run.model,
            run_id=run.run_id,
            dataset_sha256=manifest.sha256,
            dataset_rows=manifest.rows,
            duplicates=manifest.duplicates,
            artifact_sha256=self._store.put(fitted.artifact),
            artifact_bytes=len(fitted.artifact),
            metrics=fitted.metrics,
            duration_s=time.perf_counter() - started,
        )

    async def _report(self, run: Run, report: Report) -> None:
        """Say what happened. That the log has an answer to this run already is an answer too.

        Raises:
            Unavailable: nobody answers; say it again.
        """
        key = str(uuid5(NAMESPACE, f"{run.model}/{run.run_id}/{type(report).__name__}"))
        try:
            await self._client.send(report, key=key, correlation_id=run.correlation_id)
        except Problem as problem:
            if problem.retriable:
                raise
            log.info("report was not needed", report=type(report).__name__, code=problem.code, detail=problem.detail)
