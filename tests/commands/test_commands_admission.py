"""Back-pressure: a slow Kafka makes quick refusals, and nothing that was taken is lost."""

import asyncio
import contextlib
import time
import uuid
from typing import Any

import pytest

from commands.api.admission import COMPONENT, Admission
from infra.health import Health
from infra.settings import AdmissionSettings
from infra.stack.stack import Stack
from schemas.errors import Unavailable

from ..eventually import eventually


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health() -> Health:
    return Health("commands")


@pytest.fixture
def admission(clock: Clock, health: Health) -> Admission:
    return Admission(AdmissionSettings(max_unconfirmed=3, max_waiting=2, stall_s=1), health, clock=clock)


def test_no_more_appends_wait_than_the_bound(admission: Admission) -> None:
    """Memory is bounded, and so is what a crash can leave in doubt."""
    with contextlib.ExitStack() as under_way:
        for _ in range(3):
            under_way.enter_context(admission.append())
        with pytest.raises(Unavailable, match="3 appends wait") as caught, admission.append():
            pass
        assert caught.value.code == "overloaded"
    with admission.append():
        pass


def test_no_more_requests_wait_for_a_decision_than_the_bound(admission: Admission) -> None:
    """A processor that is away would otherwise fill the API with waiting requests."""
    with contextlib.ExitStack() as waiting:
        waiting.enter_context(admission.decision())
        waiting.enter_context(admission.decision())
        with pytest.raises(Unavailable, match="2 requests wait"), admission.decision():
            pass
    with admission.decision():
        pass


def test_a_kafka_that_stands_still_is_asked_once_a_moment(admission: Admission, clock: Clock, health: Health) -> None:
    """The others learn at once that it is no use; one finds out when it is again."""
    with contextlib.ExitStack() as under_way:
        under_way.enter_context(admission.append())
        clock.now = 1.5
        with admission.append():  # the one that asks, and is answered
            assert not health.components[COMPONENT].ok
        assert health.components[COMPONENT].ok
    for moment, admitted in ((2.0, True), (2.1, False), (2.9, False), (3.1, True), (3.2, False)):
        clock.now = moment
        with contextlib.suppress(Unavailable), admission.append():
            assert admitted
            raise Unavailable("no answer from Kafka")
    assert "no answer" in health.components[COMPONENT].cause
    clock.now = 9
    with admission.append():
        pass
    assert health.components[COMPONENT].ok


@pytest.mark.alone
async def test_a_paused_broker_is_refused_quickly_and_loses_nothing(
    write_side: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: 503 with Retry-After while Kafka stands still, and every accepted command is there afterwards."""
    accepted: list[str] = []
    refused: list[float] = []
    in_doubt: list[str] = []

    async def client() -> None:
        while not over.is_set():
            user, began = uuid.uuid4().hex, time.monotonic()
            answer = await write_side.call("POST", "/users", json={"user_id": user})
            if answer.status == 200:
                accepted.append(user)
            elif answer.code == "overloaded":
                refused.append(time.monotonic() - began)
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                assert "command_id" not in answer.body
            elif "command_id" in answer.body:
                assert answer.status in (503, 504)
                in_doubt.append(answer.body["status_url"])
            else:
                assert answer.status == 503, answer
            if answer.status != 200:
                await asyncio.sleep(0.05)

    async def accepts(more: int) -> None:
        wanted = len(accepted) + more

        async def enough() -> bool:
            return len(accepted) >= wanted

        await eventually(enough, 120)

    over = asyncio.Event()
    clients = [asyncio.create_task(client()) for _ in range(5)]
    try:
        await accepts(20)
        with monkeypatch.context() as impatient:
            for limit, seconds in AdmissionSettings():
                impatient.setattr(write_side.settings.admission, limit, seconds)
            stack.pause("kafka")
            try:
                await newcomers(write_side, refused, in_doubt)
            finally:
                stack.resume("kafka")
            await accepts(20)
    finally:
        over.set()
        await asyncio.gather(*clients)
    assert in_doubt
    for url in in_doubt:
        told = await write_side.call("GET", url)
        assert told.status == 200, told
    assert min(refused) < 0.5
    for user in accepted:
        again = await write_side.call("POST", "/users", json={"user_id": user})
        assert (again.status, again.code) == (409, "already_registered"), again


async def newcomers(write_side: Any, refused: list[float], in_doubt: list[str]) -> None:
    """Requests that come while Kafka stands still, until some were refused at once and one was left in doubt.

    Which comes first is chance: where the pause began between two appends, the first newcomer is let in.
    """
    async with asyncio.timeout(120):
        while not (len(refused) > 10 and in_doubt):
            began = time.monotonic()
            answer = await write_side.call("POST", "/users", json={"user_id": uuid.uuid4().hex})
            assert answer.status in (503, 504), answer
            if "command_id" in answer.body:
                in_doubt.append(answer.body["status_url"])
            else:
                refused.append(time.monotonic() - began)
                await asyncio.sleep(0.05)
