"""The real services answer what the pacts of their consumers say."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from console.api import Api
from infra.settings import Settings
from infra.stack.stack import Stack, merged
from schemas.errors import Problem

from .pact import Interaction, faults, pacts

ROLES = ("commands", "processor", "projector", "queries", "serving")
CLICK = {"kind": "click", "occurred_at": "2026-01-01T00:00:00Z"}


async def an_item(api: Api) -> str:
    body = {"item_id": "known-item", "title": "Known", "categories": ["comedy"]}
    return (await api.command("POST", "/items", body, key="pact-known-item")).position


async def another_item(api: Api) -> str:
    await api.command("POST", "/items", {"item_id": "other-item", "title": "Other"}, key="pact-other-item")
    liked = {"user_id": "somebody", "item_id": "other-item", **CLICK}
    return (await api.command("POST", "/interactions", liked, key="pact-other-click")).position


async def a_history(api: Api) -> str:
    done = {"user_id": "known-user", "item_id": "known-item", **CLICK}
    return (await api.command("POST", "/interactions", done, key="pact-click")).position


async def a_run(api: Api) -> str:
    body = {"type": "RequestTraining", "data": {"model": "pact", "run_id": "known-run", "algorithm": "popularity"}}
    return (await api.command("POST", "/commands", body, key="pact-run")).position


async def another_run(api: Api) -> str:
    body = {"type": "RequestTraining", "data": {"model": "pact", "run_id": "other-run", "algorithm": "popularity"}}
    return (await api.command("POST", "/commands", body, key="pact-other-run")).position


STATES: Mapping[str, Callable[[Api], Awaitable[str]]] = {
    "an item": an_item,
    "another item that somebody else liked": another_item,
    "a person with a history": a_history,
    "a training run": a_run,
    "another training run": another_run,
}


@pytest.fixture
def services(settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    corner = {"data_dir": tmp_path / "services", "stack": {"engine": "external"}}
    corner |= {"answer_timeout_s": 60, "admission": {"stall_s": 60, "confirm_s": 60}}
    ours = Stack(Settings(**merged(settings.model_dump(exclude_unset=True), corner)))
    try:
        ours.up(ROLES)
        yield ours.settings
    finally:
        ours.down()


async def test_every_provider_keeps_what_its_consumers_rely_on(services: Settings) -> None:
    """A provider that changes an answer learns here whom it breaks, not in production."""
    async with Api(services) as api:
        for pact in pacts():
            base = getattr(services, pact.provider).url
            for one in pact.interactions:
                for state in one.states:
                    await STATES[state](api)
                found = await judged(api, base, one)
                assert not found, f"{pact.consumer} of {pact.provider}, {one.description}: {found}"


async def judged(api: Api, base: str, one: Interaction, patience_s: float = 60) -> list[str]:
    """What is wrong with the answer, once the read models have come along."""
    deadline = time.monotonic() + patience_s
    while True:
        status, body = await asked(api, base, one)
        found = list(faults(one.response["body"], body))
        if status != one.response["status"]:
            found.append(f"status {status}, not {one.response['status']}: {body}")
        if not found or one.method != "GET" or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.2)


async def asked(api: Api, base: str, one: Interaction) -> tuple[int, Any]:
    """Status and body; a problem is an answer like another."""
    try:
        answer = await api.call(base, one.method, one.path, params=one.query, data=one.body, headers=one.headers)
    except Problem as problem:
        return problem.status, {"code": problem.code, "detail": problem.detail}
    return answer.status, answer.body
