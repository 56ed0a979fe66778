"""Deployments on a real Triton: a version serves, or nothing of it is left; whatever is killed on the way."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from inference.models import ease
from inference.store import ArtifactStore
from infra.settings import Settings
from infra.stack.stack import Stack

from ..eventually import eventually
from .town import DATA, Town, open_town


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    async with open_town(settings) as town:
        yield town


async def test_a_version_is_loaded_beside_the_old_one_and_takes_over(town: Town) -> None:
    """The whole way, twice: the second replaces the first, with evidence of each step."""
    await town.start("deployer")
    await town.deployed(1, town.artifact())
    assert await town.loaded(1, 2) == [1]
    id = await town.deploy(2, town.artifact(l2=500.0))
    await town.reaches(id, "promoted", "completed")
    done = await town.reaches(id, "completed")
    assert await town.loaded(1, 2) == [2]
    assert done["rollback_to"] == 1
    assert "5 of 5 golden requests exact" in next(iter(done["evidence"]["loaded"].values()))


async def test_bad_artifacts_are_compensated(town: Town) -> None:
    """Missing, damaged, of another signature, or answering otherwise than at export: each is named, none stays."""
    await town.start("deployer")
    good = town.artifact()
    await town.deployed(1, good)
    store = ArtifactStore(town.settings)
    content = store.get(good)
    cases = {
        "is not in the store": "0" * 64,
        "no ONNX file": store.put(b"not a model"),
        "other scores": store.put(_with_other_scores(content)),
        "was damaged": _damaged(town, content),
    }
    for version, (reason, artifact) in enumerate(cases.items(), start=2):
        id = await town.deploy(version, artifact)
        ended = await town.reaches(id, "rolled_back")
        assert reason.lower().replace("no onnx", "not an onnx") in ended["reason"].lower()
        assert await town.loaded(1, version) == [1]
        live = await town.row("SELECT version FROM live_models WHERE model = %s", town.model)
        assert live == {"version": 1}


async def test_the_registry_has_the_last_word_on_what_a_version_is(town: Town) -> None:
    """An artifact may not be served under the number of another."""
    await town.register(town.artifact())
    await town.start("deployer")
    await eventually(lambda: town.row("SELECT 1 FROM model_registry WHERE model = %s", town.model))
    id = await town.deploy(1, town.artifact(l2=5.0))
    assert "is registered with the artifact" in (await town.reaches(id, "rolled_back"))["reason"]
    await town.deployed(1, town.artifact())


def _with_other_scores(artifact: bytes) -> bytes:
    import onnx

    model = onnx.load_from_string(artifact)
    for prop in model.metadata_props:
        if prop.key == "golden":
            prop.value = prop.value.replace('"scores": [0.', '"scores": [1.', 2)
    changed: bytes = model.SerializeToString()
    assert changed != artifact
    return changed


def _damaged(town: Town, artifact: bytes) -> str:
    store = ArtifactStore(town.settings)
    sha256 = store.put(ease.MODEL.train(DATA, ease.MODEL.configure({"l2": 77.0}), 20))
    store._fs.pipe_file(store._path(sha256), artifact)
    return sha256


@pytest.mark.parametrize("step", ["requested", "validated", "promoted"])
async def test_the_deployer_killed_between_two_steps_goes_on(town: Town, step: str) -> None:
    """Kill -9 anywhere: the log says what was done, the next process does the rest."""
    if step == "requested":
        id = await town.deploy(1, town.artifact())
    else:
        await town.start_apart("deployer")
        id = await town.deploy(1, town.artifact())
        await town.reaches(id, step, *_after(step))
        await town.kill("deployer")
    await town.start_apart("deployer")
    await town.reaches(id, "completed")
    assert await town.loaded(1) == [1]


def _after(step: str) -> list[str]:
    steps = ["requested", "validated", "loaded", "promoted", "completed"]
    return steps[steps.index(step) + 1 :]


async def test_killed_again_and_again(town: Town) -> None:
    """A deployer that lives for moments only still brings a version all the way, or takes it away."""
    id = await town.deploy(1, town.artifact())
    for moment_s in (1.2, 1.6, 2.0, 2.4):
        await town.start_apart("deployer")
        await asyncio.sleep(moment_s)
        await town.kill("deployer")
    await town.start_apart("deployer")
    await town.reaches(id, "completed")
    assert await town.loaded(1) == [1]


@pytest.mark.alone
async def test_a_restarted_triton_gets_its_versions_back(town: Town, stack: Stack) -> None:
    """Triton forgets what it had loaded; nobody should have to deploy again."""
    await town.start("deployer")
    await town.deployed(1, town.artifact())
    stack.kill("triton")
    await asyncio.to_thread(stack.restart, "triton")
    await eventually(lambda: town.loaded(1), 60)
