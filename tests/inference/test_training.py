"""Training on the real servers: by command, from the log, through a kill, and again with the same result."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psutil
import pytest
from uuid6 import uuid7

from inference.store import ArtifactStore, digest
from inference.training.fitting import fit_on_log
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Problem
from schemas.models import (
    CancelTraining,
    ModelRegistered,
    OffsetRange,
    RequestTraining,
    RetryTraining,
    TrainingCompleted,
    TrainingDatasetBuilt,
    TrainingEvaluated,
    TrainingFailed,
    TrainingProgressed,
    TrainingQueued,
    TrainingRequested,
    TrainingResourcesUsed,
    TrainingStarted,
)
from schemas.profiles import RegisterUser, WithdrawConsent

from ..eventually import eventually
from .logreader import read_topic
from .town import DATA, Town, open_town

pytestmark = pytest.mark.long

ENDLESS: dict[str, Any] = {"algorithm": "ials", "params": {"iterations": "10000000"}}


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    """Interactions are in the log and nobody trains."""
    async with open_town(settings) as town:
        for user, items in DATA.histories().items():
            await town.interact(user, *items)
        yield town


async def ended(town: Town, run_id: str, timeout_s: float = 240) -> Any:
    """The end of a run, from the log."""

    async def look() -> Any:
        events = [one.event for one in await read_topic(town.settings, "models")]
        ends = [e for e in events if isinstance(e, TrainingCompleted | TrainingFailed) and e.run_id == run_id]
        return ends[0] if ends else None

    return await eventually(look, timeout_s, 0.3)


async def ask(town: Town, **values: Any) -> str:
    run_id = str(uuid7())
    await town.send(RequestTraining(**{"model": town.model, "run_id": run_id, "algorithm": "ease"} | values))
    return run_id


async def test_a_run_and_the_same_again(town: Town) -> None:
    """A run names its ranges; fitting again from them gives the same dataset and the same bytes."""
    await town.send(RegisterUser(user_id="u1"))
    await town.send(WithdrawConsent(user_id="u1", purpose="training"))
    await trainer(town)
    run_id = await ask(town, params={"l2": "100"}, k=10)
    done = await ended(town, run_id)
    assert isinstance(done, TrainingCompleted), done
    assert done.dataset_rows == len(DATA) - len(DATA.histories()["u1"])
    assert done.metrics["ndcg@10"] > 0
    artifact = ArtifactStore(town.settings).get(done.artifact_sha256)
    await town.interact("u2", "i1", "i2")  # later events are no part of the run

    events = [one.event for one in await read_topic(town.settings, "models")]
    ranges = next(e.ranges for e in events if isinstance(e, TrainingStarted))
    told = [type(event) for event in await story(town, run_id) if not isinstance(event, TrainingProgressed)]
    assert told == [
        TrainingRequested,
        TrainingStarted,
        TrainingDatasetBuilt,
        TrainingEvaluated,
        TrainingResourcesUsed,
        TrainingCompleted,
        ModelRegistered,
    ]
    decoder = await open_decoder(town.settings)
    again = await fit_on_log(town.settings, decoder, ranges, "ease", {"l2": "100"}, 10)
    assert again.dataset.manifest.sha256 == done.dataset_sha256
    assert digest(again.artifact) == done.artifact_sha256
    assert again.artifact == artifact
    assert dict(again.metrics) == dict(done.metrics)


@pytest.mark.timeout(600)
async def test_a_killed_trainer_goes_on(town: Town) -> None:
    """Ended by kill -9 in the middle of a fit: another takes the place over and reads what was fixed; one end."""
    first = await trainer(town)
    run_id = await ask(town, algorithm="ials", params={"iterations": "300"})
    await said(town, run_id, TrainingStarted)
    async with killed(town, first):
        await trainer(town)
    done = await ended(town, run_id)
    assert isinstance(done, TrainingCompleted), done
    told = [type(event).__name__ for event in await story(town, run_id)]
    assert (told.count("TrainingStarted"), told.count("TrainingCompleted"), told.count("ModelRegistered")) == (1, 1, 1)


@pytest.mark.timeout(600)
async def test_a_fit_is_cancelled_and_tried_again(town: Town) -> None:
    """Its process is gone, its place is free, it is no version; the second attempt reads what the first had fixed."""
    process = await trainer(town)
    run_id = await ask(town, **ENDLESS)
    other = await ask(town, algorithm="popularity")
    await said(town, run_id, TrainingDatasetBuilt)
    (fit,) = psutil.Process(process.pid).children()
    await said(town, other, TrainingQueued)
    await town.interact("u2", "i1", "i2")
    await town.send(CancelTraining(model=town.model, run_id=run_id, reason="wrong"))
    await eventually(gone(fit), 120)
    assert isinstance(await ended(town, other), TrainingCompleted)
    with pytest.raises(Problem) as late:
        await town.send(CancelTraining(model=town.model, run_id=run_id))
    assert (late.value.status, late.value.code) == (409, "run_cancelled")

    await town.send(RetryTraining(model=town.model, run_id=run_id))
    await said(town, run_id, TrainingDatasetBuilt, attempt=2)
    (fit,) = psutil.Process(process.pid).children()
    fit.kill()  # as the kernel does when memory runs out
    died = await eventually(latest(town, run_id, TrainingFailed), 120, 0.3)
    assert (died.attempt, died.code) == (2, "fit_died")
    assert "signal 9" in died.reason
    used = [event for event in await story(town, run_id) if isinstance(event, TrainingResourcesUsed)]
    assert used[-1].cpu_s > 0
    assert used[-1].peak_memory_bytes > 10_000_000
    assert used[-1].bytes_read > 10_000
    starts = [event for event in await story(town, run_id) if isinstance(event, TrainingStarted)]
    assert starts[0].ranges == starts[1].ranges
    assert not any(isinstance(event, ModelRegistered) for event in await story(town, run_id))


@pytest.mark.timeout(600)
async def test_no_more_are_under_way_than_there_are_places(settings: Settings) -> None:
    """However many trainers there are; the others wait in the order in which they were asked for, and say so."""
    options = settings.trainer.model_copy(update={"at_once": 1})
    async with open_town(settings, trainer=options) as town:
        await town.interact("u1", "i1", "i2", "i3")
        runs = [await ask(town, model=f"{town.model}-{n}", algorithm="popularity") for n in range(4)]
        for _ in range(2):
            await trainer(town)
        for run_id in runs:
            assert isinstance(await ended(town, run_id), TrainingCompleted)
        events = sorted((one for one in await read_topic(town.settings, "models")), key=lambda one: one.meta.time)
        under_way: set[str] = set()
        began: list[str] = []
        for event in (one.event for one in events):
            match event:
                case TrainingStarted(run_id=run_id):
                    assert not under_way
                    under_way.add(run_id)
                    began.append(run_id)
                case TrainingCompleted(run_id=run_id):
                    under_way.remove(run_id)
        assert began == runs
        waited = {event.run_id for event in (one.event for one in events) if isinstance(event, TrainingQueued)}
        assert set(runs[1:]) <= waited


async def test_a_run_that_cannot_be_done_says_why(town: Town) -> None:
    """What makes no sense is refused at the door; what turns out later ends as failed, and the next is not held up."""
    await trainer(town)
    for wrong in ({"algorithm": "magic"}, {"params": {"l2": "much"}}):
        with pytest.raises(Problem) as refused:
            await ask(town, **wrong)
        assert refused.value.status == 422
    beyond = (OffsetRange(topic="interactions", partition=0, first=0, end=10**9),)
    end = await ended(town, run_id := await ask(town, ranges=beyond))
    assert isinstance(end, TrainingFailed)
    assert ("past the end" in end.reason, end.code) == (True, "range_past_end")
    assert isinstance(await ended(town, await ask(town, algorithm="popularity")), TrainingCompleted)
    await town.send(RetryTraining(model=town.model, run_id=run_id))
    with pytest.raises(Problem) as running:
        await town.send(RetryTraining(model=town.model, run_id=run_id))
    assert running.value.code in ("run_requested", "run_started")


async def trainer(town: Town) -> asyncio.subprocess.Process:
    """Another trainer, in a process of its own."""
    await town.start_apart("trainer")
    process = town.children.pop("trainer")
    town.children[f"trainer {process.pid}"] = process
    return process


@contextlib.asynccontextmanager
async def killed(town: Town, process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """End a trainer without letting it say goodbye; its fits end as well."""
    fits = psutil.Process(process.pid).children()
    await town.kill(f"trainer {process.pid}")
    yield
    for fit in fits:
        await eventually(gone(fit), 120)


def gone(process: psutil.Process) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        try:
            return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:  # between the two questions
            return True

    return look


async def story(town: Town, run_id: str) -> list[Any]:
    events = [one.event for one in await read_topic(town.settings, "models")]
    return [event for event in events if getattr(event, "run_id", None) == run_id]


async def said(town: Town, run_id: str, kind: type[Any], attempt: int = 1) -> None:
    """Wait until the log says so of an attempt of a run."""

    async def look() -> bool:
        return any(isinstance(event, kind) and event.attempt == attempt for event in await story(town, run_id))

    await eventually(look, 240, 0.3)


def latest(town: Town, run_id: str, kind: type[Any]) -> Callable[[], Awaitable[Any]]:
    async def look() -> Any:
        found = [event for event in await story(town, run_id) if isinstance(event, kind)]
        return found[-1] if found else None

    return look
