"""One run, carried out: begun on the log, fitted in a process of its own, told of meanwhile, ended on the log."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TypeAlias
from uuid import uuid4, uuid5

import structlog
from prometheus_client import Counter, Histogram

from inference.client import CommandClient
from inference.datasets.dataset import fixed_ranges
from inference.training.attempt import Attempt, begun
from inference.training.job import Dataset, Done, Evaluation, Fault, Job, Step, Use
from inference.training.outbox import Outbox
from inference.training.runs import Run
from infra.settings import Settings
from schemas.errors import Problem
from schemas.models import (
    CompleteTraining,
    FailTraining,
    OffsetRange,
    ReportDataset,
    ReportEvaluation,
    ReportProgress,
    ReportResources,
    StartTraining,
)

LONGEST_REASON = 2000
RETRY_S = 1.0
PARTING_S = 5.0
"""How long a run that was ended may take to tell what it has used."""

Report: TypeAlias = (
    ReportDataset | ReportEvaluation | ReportProgress | ReportResources | CompleteTraining | FailTraining
)

RUNS = Counter("retrace_training_runs_total", "Training runs ended, by how.", ["algorithm", "outcome"])
RUN_SECONDS = Histogram(
    "retrace_training_run_seconds",
    "Time from the start of a run to its report.",
    ["algorithm"],
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 1800),
)

log = structlog.get_logger()


class Carrier:
    """Carries out one run in one place.

    Args:
        client: takes the reports.
        worker: name of this process.
    """

    def __init__(self, settings: Settings, client: CommandClient, worker: str, run: Run, place: int) -> None:
        self._settings = settings
        self._client = client
        self._worker = worker
        self._run = run
        self._place = place
        self._execution = uuid4()
        self._reports = 0
        self._began = time.monotonic()
        self._dataset: Dataset | None = None
        self._metrics: dict[str, float] = {}
        self._progress = Outbox(settings.trainer.progress_s)
        self.note = "begins"

    async def work(self) -> bool:
        """Do the run; whether its end is on the log. It is not when the log says that it may not begin now.

        Raises:
            Problem: something it needs is away; trying again may help.
        """
        run = self._run
        bound = {"run_id": run.run_id, "model": run.model, "algorithm": run.algorithm, "attempt": run.attempt}
        with structlog.contextvars.bound_contextvars(correlation_id=run.correlation_id, **bound):
            try:
                ranges = run.ranges if run.is_under_way else await self._start()
            except Problem as problem:
                if problem.retriable:
                    raise
                return await self._refused(problem)
            await self._fit(Job(ranges or (), run.algorithm, run.params, run.k))
            return True

    async def _start(self) -> tuple[OffsetRange, ...]:
        """Fix what the run reads, on record before anything is read.

        Raises:
            Problem: what was asked for is not in the log, or the run may not begin.
        """
        run = self._run
        ranges = run.ranges or await fixed_ranges(self._settings, run.asked)
        start = StartTraining(
            model=run.model,
            run_id=run.run_id,
            ranges=ranges,
            attempt=run.attempt,
            slot=self._place,
            worker=self._worker,
            limit=self._settings.trainer.per_model,
        )
        await self._client.send(start, correlation_id=run.correlation_id)
        return ranges

    async def _refused(self, problem: Problem) -> bool:
        """A conflict says that the run is elsewhere or over, or waits; anything else, that it can never begin."""
        if problem.status == 409:
            log.info("run does not begin", code=problem.code, detail=problem.detail)
            return False
        await self._end(Fault(problem.code, problem.detail, retriable=False))
        return True

    async def _fit(self, job: Job) -> None:
        """Fit until there is an end; again while something that it needs is away."""
        while True:
            end = await self._heard(job)
            if isinstance(end, Done) or not end.retriable:
                return await self._end(end)
            self.note = f"waits: {end.detail}"
            log.warning("run waits", cause=end.detail)
            await asyncio.sleep(RETRY_S)

    async def _heard(self, job: Job) -> Done | Fault:
        """The end that the process comes to; when this is cancelled, it ends without one."""
        async with begun(self._settings, job) as attempt:
            sending = asyncio.create_task(self._send_progress())
            try:
                return await self._told(attempt)
            except asyncio.CancelledError:
                await attempt.end()
                await asyncio.shield(self._part(attempt.use))
                raise
            finally:
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending

    async def _told(self, attempt: Attempt) -> Done | Fault:
        end: Done | Fault = Fault("fit_died", "the process said nothing", retriable=False)
        async for said in attempt.lines():
            match said:
                case Step():
                    self._progress.put(self._progressed(said))
                case Dataset():
                    self._dataset = said
                    await self._report(self._built(said))
                case Evaluation(metrics=metrics):
                    self._metrics = metrics
                    await self._report(self._evaluated(metrics))
                case Done() | Fault():
                    end = said
        return end

    async def _end(self, end: Done | Fault) -> None:
        run, seconds = self._run, time.monotonic() - self._began
        await self._report(self._resources(end.use))
        report: CompleteTraining | FailTraining
        if isinstance(end, Done) and self._dataset is not None:
            report = self._completed(end, self._dataset, seconds)
        else:
            code, detail = (end.code, end.detail) if isinstance(end, Fault) else ("fit_died", "no dataset was built")
            report = FailTraining(
                model=run.model, run_id=run.run_id, reason=detail[:LONGEST_REASON], attempt=run.attempt, code=code
            )
        await self._report(report)
        RUN_SECONDS.labels(run.algorithm).observe(seconds)
        RUNS.labels(run.algorithm, type(report).__name__).inc()
        log.info("run ended", outcome=type(report).__name__, seconds=round(seconds, 3))

    async def _part(self, use: Use) -> None:
        """Tell what an attempt that was ended has used, unless nobody listens."""
        log.info("run is ended", cpu_s=round(use.cpu_s, 2))
        with suppress(TimeoutError):
            async with asyncio.timeout(PARTING_S):
                await self._report(self._resources(use))

    async def _send_progress(self) -> None:
        while True:
            report = await self._progress.next()
            self.note = f"{report.step}, {report.percent:.0f} %"
            with suppress(Problem):  # the next one says more
                await self._client.send(report, correlation_id=self._run.correlation_id)

    async def _report(self, report: Report) -> None:
        """Say what happened, until somebody answers. That it came too late is an answer too."""
        self._reports += 1
        key = str(uuid5(self._execution, str(self._reports)))
        while True:
            try:
                await self._client.send(report, key=key, correlation_id=self._run.correlation_id)
            except Problem as problem:
                if problem.retriable:
                    self.note = f"waits to report: {problem.detail}"
                    log.warning("report waits", report=type(report).__name__, cause=problem.detail)
                    await asyncio.sleep(RETRY_S)
                    continue
                log.info("report came too late", report=type(report).__name__, code=problem.code, detail=problem.detail)
            return

    def _progressed(self, step: Step) -> ReportProgress:
        elapsed = time.monotonic() - self._began
        left = elapsed * (100 - step.percent) / step.percent if step.percent else None
        return ReportProgress(
            model=self._run.model,
            run_id=self._run.run_id,
            attempt=self._run.attempt,
            step=step.step,
            done=step.done,
            total=step.total,
            percent=round(step.percent, 1),
            eta_s=None if left is None else round(left, 1),
            elapsed_s=round(elapsed, 2),
            worker=self._worker,
        )

    def _built(self, dataset: Dataset) -> ReportDataset:
        return ReportDataset(
            model=self._run.model,
            run_id=self._run.run_id,
            attempt=self._run.attempt,
            dataset_sha256=dataset.sha256,
            dataset_rows=dataset.rows,
            duplicates=dataset.duplicates,
            silent_kinds=dataset.silent_kinds,
            silent=dataset.silent,
            withdrawn=dataset.withdrawn,
            erased=dataset.erased,
            erasures=dataset.erasures,
            manifest=dataset.manifest,
        )

    def _evaluated(self, metrics: Mapping[str, float]) -> ReportEvaluation:
        run = self._run
        return ReportEvaluation(model=run.model, run_id=run.run_id, attempt=run.attempt, metrics=metrics)

    def _resources(self, use: Use) -> ReportResources:
        return ReportResources(
            model=self._run.model,
            run_id=self._run.run_id,
            attempt=self._run.attempt,
            worker=self._worker,
            cpu_s=round(use.cpu_s, 3),
            wall_s=round(time.monotonic() - self._began, 3),
            peak_memory_bytes=use.peak_memory_bytes,
            bytes_read=use.bytes_read,
            gpu=use.gpu,
            gpu_peak_memory_bytes=use.gpu_peak_memory_bytes,
        )

    def _completed(self, done: Done, dataset: Dataset, seconds: float) -> CompleteTraining:
        return CompleteTraining(
            model=self._run.model,
            run_id=self._run.run_id,
            dataset_sha256=dataset.sha256,
            dataset_rows=dataset.rows,
            duplicates=dataset.duplicates,
            artifact_sha256=done.artifact_sha256,
            artifact_bytes=done.artifact_bytes,
            metrics=self._metrics,
            duration_s=seconds,
            attempt=self._run.attempt,
        )
