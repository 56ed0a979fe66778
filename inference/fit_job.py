"""Carrying out one training job in a process of its own: fit, store, and say how it goes."""

import asyncio
import resource
import sys
from collections.abc import Callable
from typing import Any

import structlog

from inference.datasets.manifest import Manifest
from inference.datasets.shelf import keep
from inference.store import ArtifactStore
from inference.training.fitting import Fitted, fit_on_log
from inference.training.job import Dataset, Done, Evaluation, Fault, Job, Line, Step, Use
from inference.training.told import Built, Measured, Progressed, Telling
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Problem

KIB = 1024

log = structlog.get_logger()


async def carry_out(settings: Settings, job: Job, say: Callable[[Line], None]) -> None:
    """Fit, store, and say how it went; the last word is `Done` or `Fault`."""
    meter = Meter()

    def tell(telling: Telling) -> None:
        meter.hear(telling)
        say(_line(telling))

    try:
        decoder = await open_decoder(settings)
        fitted = await fit_on_log(settings, decoder, job.ranges, job.algorithm, job.params, job.k, tell)
        tell(Progressed("storing"))
        sha256 = await asyncio.to_thread(_stored, settings, fitted)
        say(Done(sha256, len(fitted.artifact), meter.use()))
    except Problem as problem:
        say(Fault(problem.code, problem.detail, problem.retriable, meter.use()))
    except MemoryError as fault:
        detail = f"the fit needs more memory than there is ({fault}): train on a part of the log"
        say(Fault("out_of_memory", detail, retriable=False, use=meter.use()))
    except Exception as fault:
        log.exception("the fit broke")
        detail = (
            f"the fit broke, which is a mistake in the model or in Retrace: {fault!r}; `retrace logs trainer` has it"
        )
        say(Fault("fit_broke", detail, retriable=False, use=meter.use()))


class Meter:
    """What this process has used since it began."""

    def __init__(self) -> None:
        self._bytes_read = 0

    def hear(self, telling: Telling) -> None:
        """Take what is told: how much has been read is not to be seen from outside."""
        if isinstance(telling, Progressed):
            self._bytes_read = max(self._bytes_read, telling.size_bytes)

    def use(self) -> Use:
        """Until now."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        gpu, gpu_bytes = _gpu()
        return Use(
            cpu_s=used.ru_utime + used.ru_stime,
            peak_memory_bytes=used.ru_maxrss * KIB,
            bytes_read=self._bytes_read,
            gpu=gpu,
            gpu_peak_memory_bytes=gpu_bytes,
        )


def _gpu() -> tuple[str | None, int | None]:
    """Name of the GPU that a model has used here, and the most memory it held; where none does, torch is not loaded."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None, None
    return str(torch.cuda.get_device_name()), int(torch.cuda.max_memory_allocated())


def _stored(settings: Settings, fitted: Fitted) -> str:
    keep(settings, fitted.dataset)
    return ArtifactStore(settings).put(fitted.artifact)


def _line(telling: Telling) -> Line:
    match telling:
        case Progressed(step=step, done=done, total=total, size_bytes=size_bytes):
            return Step(step, done, total, telling.percent, size_bytes)
        case Built(manifest=manifest):
            return _dataset(manifest)
        case Measured(metrics=metrics):
            return Evaluation(dict(metrics))


def _dataset(manifest: Manifest) -> Dataset:
    return Dataset(
        sha256=manifest.sha256,
        rows=manifest.rows,
        duplicates=manifest.duplicates,
        silent_kinds=manifest.silent_kinds,
        silent=manifest.silent,
        withdrawn=manifest.withdrawn,
        erased=manifest.erased,
        erasures=manifest.erasures,
        manifest=manifest.as_json(),
    )
