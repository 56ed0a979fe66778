"""Training on the real servers: by command, from the log, through a kill, and again with the same result."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uuid6 import uuid7

from inference.fitting import fit_on_log
from inference.store import ArtifactStore, digest
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.models import OffsetRange, RequestTraining, TrainingCompleted, TrainingFailed, TrainingStarted
from schemas.profiles import RegisterUser, WithdrawConsent

from .logreader import read_topic
from .town import DATA, Town, eventually, open_town


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    """Interactions are in the log and nobody trains."""
    async with open_town(settings) as town:
        for user, items in DATA.histories().items():
            await town.interact(user, *items)
        yield town


async def ended(town: Town, run_id: str, timeout_s: float = 90) -> Any:
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
    await town.start_apart("trainer")
    run_id = await ask(town, params={"l2": "100"}, k=10)
    done = await ended(town, run_id)
    assert isinstance(done, TrainingCompleted), done
    assert done.dataset_rows == len(DATA) - len(DATA.histories()["u1"])
    assert done.metrics["ndcg@10"] > 0
    artifact = ArtifactStore(town.settings).get(done.artifact_sha256)
    await town.interact("u2", "i1", "i2")  # later events are no part of the run

    events = [one.event for one in await read_topic(town.settings, "models")]
    ranges = next(e.ranges for e in events if isinstance(e, TrainingStarted))
    decoder = await open_decoder(town.settings)
    again = await fit_on_log(town.settings, decoder, ranges, "ease", {"l2": "100"}, 10)
    assert again.dataset.manifest.sha256 == done.dataset_sha256
    assert digest(again.artifact) == done.artifact_sha256
    assert again.artifact == artifact
    assert dict(again.metrics) == dict(done.metrics)


@pytest.mark.parametrize("pause_s", [0.0, 0.4])
async def test_a_killed_trainer_goes_on(town: Town, pause_s: float) -> None:
    """Ended by kill -9 before or during a run: the next start finishes it, once, from the ranges that were fixed."""
    await town.start_apart("trainer")
    run_id = await ask(town)

    async def begun() -> bool:
        events = [one.event for one in await read_topic(town.settings, "models")]
        return any(isinstance(e, TrainingStarted) for e in events)

    if pause_s:
        await eventually(begun, 60, 0.05)
    else:
        await asyncio.sleep(1)
    await town.kill("trainer")
    await town.start_apart("trainer")
    done = await ended(town, run_id)
    assert isinstance(done, TrainingCompleted), done
    events = [one.event for one in await read_topic(town.settings, "models")]
    assert [type(e).__name__ for e in events].count("TrainingStarted") == 1
    assert [type(e).__name__ for e in events].count("TrainingCompleted") == 1


async def test_a_run_that_cannot_be_done_says_why(town: Town) -> None:
    """An unknown algorithm, parameter or range ends as failed with a remedy, and the next run is not held up."""
    await town.start_apart("trainer")
    beyond = (OffsetRange(topic="interactions", partition=0, first=0, end=10**9),)
    reasons = {
        await ask(town, algorithm="magic"): "no algorithm",
        await ask(town, params={"l2": "much"}): "number",
        await ask(town, ranges=beyond): "past the end",
    }
    for run_id, reason in reasons.items():
        end = await ended(town, run_id)
        assert isinstance(end, TrainingFailed)
        assert reason in end.reason
    assert isinstance(await ended(town, await ask(town, algorithm="popularity")), TrainingCompleted)
