"""Triton for real: what it answers is what we compute here, bit for bit, and versions come and go beside each other."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from inference.golden import golden_faults
from inference.scorer import OnnxScorer
from inference.triton.client import Triton
from inference.triton.repository import publish, triton_name, withdraw
from infra.settings import Settings
from schemas.errors import Incompatible, Invalid, NotFound, TimedOut, Unavailable

from .reference import MODELS, toy

DATA = toy(users=200, items=150, rows=4000)
ARTIFACTS = {model.name: model.train(DATA, model.params, 20) for model in MODELS}


@pytest.fixture
async def triton(settings: Settings) -> AsyncIterator[Triton]:
    async with Triton(settings.triton.grpc[0]) as client:
        yield client


@pytest.fixture
async def names(settings: Settings, triton: Triton) -> AsyncIterator[list[str]]:
    """Names for this test alone; whatever is loaded under them is gone afterwards."""
    names = [triton_name(f"test-{uuid4().hex[:8]}", version) for version in (1, 2)]
    yield names
    for name in names:
        await triton.unload(name)
        withdraw(settings.model_repository, name)


@pytest.mark.parametrize("model", ARTIFACTS)
async def test_triton_gives_the_bits_of_the_scorer(
    settings: Settings, triton: Triton, names: list[str], model: str
) -> None:
    """Explain runs the artifact here and compares it with what Triton served there, exactly."""
    publish(settings.model_repository, names[0], ARTIFACTS[model])
    await triton.load(names[0])
    scorer = OnnxScorer(ARTIFACTS[model])

    for history in [(), ("alien",), DATA.items[:9], *list(DATA.histories().values())[:40]]:
        request = scorer.metadata.encode(history)
        there, here = await triton.infer(names[0], *request, timeout_s=30), scorer.run(*request)
        assert [values.tobytes() for values in there] == [values.tobytes() for values in here]
        assert [values.dtype for values in there] == [np.int32, np.float32]


async def test_golden_requests_hold_on_triton(settings: Settings, triton: Triton, names: list[str]) -> None:
    """The check a deployment makes between loading and serving."""
    publish(settings.model_repository, names[0], ARTIFACTS["ease"])
    await triton.load(names[0])
    metadata = OnnxScorer(ARTIFACTS["ease"]).metadata

    for golden in metadata.golden:
        item_ids, scores = await triton.infer(names[0], *metadata.encode(golden.history), timeout_s=30)
        assert golden_faults(golden, item_ids[0], scores[0]) == []


async def test_many_at_once_get_their_own_answers(settings: Settings, triton: Triton, names: list[str]) -> None:
    """Under load requests may meet in one call of the backend; none may see another's history or change its bits."""
    publish(settings.model_repository, names[0], ARTIFACTS["item-to-item"], instances=2)
    await triton.load(names[0])
    scorer = OnnxScorer(ARTIFACTS["item-to-item"])
    requests = [scorer.metadata.encode(history) for history in DATA.histories().values()]

    answers = await asyncio.gather(*(triton.infer(names[0], *request, timeout_s=60) for request in requests))

    for request, (item_ids, scores) in zip(requests, answers, strict=True):
        here = scorer.run(*request)
        assert (item_ids.tobytes(), scores.tobytes()) == (here[0].tobytes(), here[1].tobytes())


async def test_versions_live_beside_each_other(settings: Settings, triton: Triton, names: list[str]) -> None:
    """A new version is loaded while the old one serves, and unloading one leaves the other."""
    for name, model in zip(names, ("popularity", "ease"), strict=True):
        publish(settings.model_repository, name, ARTIFACTS[model])
        await triton.load(name)
    await triton.load(names[1])
    assert [await triton.ready(name) for name in names] == [True, True]

    await triton.unload(names[0])

    request = OnnxScorer(ARTIFACTS["ease"]).metadata.encode(DATA.items[:3])
    with pytest.raises(NotFound):
        await triton.infer(names[0], *request, timeout_s=30)
    assert await triton.ready(names[1])
    assert (await triton.infer(names[1], *request, timeout_s=30))[0].shape == (1, 20)


async def test_a_model_that_is_not_there_is_told_apart(triton: Triton, names: list[str]) -> None:
    """The saga retries an absent server and gives up on an absent or broken model."""
    assert not await triton.ready(names[0])
    with pytest.raises(NotFound):
        await triton.infer(names[0], *OnnxScorer(ARTIFACTS["ease"]).metadata.encode([]), timeout_s=30)
    with pytest.raises(Incompatible):
        await triton.load(names[0])


async def test_a_broken_artifact_does_not_load(settings: Settings, triton: Triton, names: list[str]) -> None:
    """Validation should have caught it; if it did not, Triton's reason reaches the saga and nothing stays loaded."""
    folder = publish(settings.model_repository, names[0], ARTIFACTS["ease"])
    (folder / "1" / "model.onnx").write_bytes(b"damaged on disk")

    with pytest.raises(Incompatible):
        await triton.load(names[0])
    assert not await triton.ready(names[0])


async def test_an_answer_that_takes_too_long_is_a_timeout(settings: Settings, triton: Triton, names: list[str]) -> None:
    """Serving falls back within its budget instead of waiting."""
    publish(settings.model_repository, names[0], ARTIFACTS["ease"])
    await triton.load(names[0])
    request = OnnxScorer(ARTIFACTS["ease"]).metadata.encode([])

    with pytest.raises(TimedOut):
        await triton.infer(names[0], *request, timeout_s=0.00001)


async def test_a_server_that_is_away_is_unavailable(free_port: int) -> None:
    """Serving must learn it at once, and from the class of the error alone."""
    async with Triton(f"127.0.0.1:{free_port}") as client:
        with pytest.raises(Unavailable):
            await client.ready("any", timeout_s=30)
        with pytest.raises(Unavailable):
            await client.infer("any", *OnnxScorer(ARTIFACTS["ease"]).metadata.encode([]), timeout_s=30)


async def test_a_server_that_dies_meanwhile_is_unavailable() -> None:
    """Killed with a request in its hands: not the model's fault, and worth another try."""

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\0\0\0\4\0\0\0\0\0")  # HTTP/2 settings, so that gRPC takes it for a server
        await asyncio.sleep(0.1)
        writer.transport.abort()

    server = await asyncio.start_server(die, "127.0.0.1", 0)
    async with server, Triton(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        with pytest.raises(Unavailable):
            await client.infer("any", *OnnxScorer(ARTIFACTS["ease"]).metadata.encode([]), timeout_s=30)


async def test_tensors_that_do_not_fit_are_the_callers_fault(
    settings: Settings, triton: Triton, names: list[str]
) -> None:
    """One bad request gets an error of its own and the model goes on."""
    publish(settings.model_repository, names[0], ARTIFACTS["ease"])
    await triton.load(names[0])
    history, weights = OnnxScorer(ARTIFACTS["ease"]).metadata.encode([])

    with pytest.raises(Incompatible):
        await triton.infer(names[0], history, weights[:, :3], timeout_s=30)
    assert (await triton.infer(names[0], history, weights, timeout_s=30))[0].shape == (1, 20)


@pytest.fixture
def free_port() -> Iterator[int]:

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_publishing_again_is_without_effect(tmp_path: Path) -> None:
    """A worker that is killed after publishing does it again; it must not disturb what is loaded."""
    folder = publish(tmp_path, "ease-v1", ARTIFACTS["ease"])
    inode = folder.stat().st_ino

    assert publish(tmp_path, "ease-v1", ARTIFACTS["ease"]).stat().st_ino == inode
    assert [path.name for path in tmp_path.iterdir()] == ["ease-v1"]


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    """What served under a name stays what served under that name."""
    publish(tmp_path, "ease-v1", ARTIFACTS["ease"])

    with pytest.raises(Incompatible, match="already published"):
        publish(tmp_path, "ease-v1", ARTIFACTS["popularity"])


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden"])
def test_a_name_cannot_leave_the_repository(tmp_path: Path, name: str) -> None:
    """Names come from commands."""
    with pytest.raises(Invalid):
        publish(tmp_path, name, ARTIFACTS["popularity"])


def test_withdrawing_leaves_nothing_and_may_be_repeated(tmp_path: Path) -> None:
    """Compensation runs as often as it likes."""
    publish(tmp_path, "ease-v1", ARTIFACTS["ease"])

    withdraw(tmp_path, "ease-v1")
    withdraw(tmp_path, "ease-v1")

    assert list(tmp_path.iterdir()) == []
