"""Servers and services are ended at once while clients go on; afterwards nothing is lost and nothing is twice."""

import asyncio
import contextlib
from collections import Counter

import psycopg
import pytest

from console.api import Api
from infra.kafka.ranges import ranges_now
from infra.kafka.replay import recorded
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from infra.stack.stack import Stack
from projections.rebuild import verify
from projections.runner import declared
from schemas.decisions import RecommendationServed
from schemas.errors import Problem
from schemas.profiles import UserRegistered

from ..eventually import eventually
from .load import Load

pytestmark = pytest.mark.long

BETWEEN_S = 2.0
CATCH_UP_S = 120.0


@pytest.mark.alone
@pytest.mark.timeout(900)
async def test_every_acknowledged_command_is_there_once_whatever_dies(stack: Stack, services: Stack) -> None:
    """The promise that everything else here rests on."""
    settings = services.settings
    load = Load(settings)
    clients = asyncio.create_task(load.run())
    for server in ("kafka", "postgres", "elastic", "triton"):
        await crashed(stack, server)
    for service in ("processor", "projector"):
        await crashed(services, service)
    await asyncio.sleep(BETWEEN_S)
    load.stop()
    await clients

    told = load.told
    assert told.interrupted > 0, "the faults were not felt, so nothing was shown"
    log = await logged(settings, {*told.users, *told.decisions})
    await caught_up(settings)
    assert {user: log[user] for user in told.users} == dict.fromkeys(told.users, 1)
    assert {decision: log[decision] for decision in told.decisions} == dict.fromkeys(told.decisions, 1)
    kept = history_ids(settings)
    assert {one: kept[one] for one in told.interactions} == dict.fromkeys(told.interactions, 1)
    for projection in declared():
        comparison = await verify(settings, projection)
        assert comparison.equal, comparison


async def crashed(stack: Stack, name: str) -> None:
    """End one at once, let the clients feel it, and start it again."""
    await asyncio.sleep(BETWEEN_S)
    await asyncio.to_thread(stack.kill, name)
    await asyncio.sleep(1)
    await asyncio.to_thread(stack.up, [name])


async def logged(settings: Settings, wanted: set[str]) -> Counter[str]:
    """How often each person and each decision is on the log; decisions get there a moment after their answer."""
    decoder = await open_decoder(settings)
    found = Counter[str]()

    async def all_of_them() -> bool:
        nonlocal found
        now = Counter[str]()
        async for one in recorded(settings, decoder, await ranges_now(settings, ["profiles", "decisions"])):
            if isinstance(one.event, UserRegistered):
                now[one.event.user_id] += 1
            if isinstance(one.event, RecommendationServed):
                now[one.event.decision_id] += 1
        found = now
        return found.keys() >= wanted

    with contextlib.suppress(TimeoutError):  # then what was found tells what is missing
        await eventually(all_of_them, CATCH_UP_S, every_s=1)
    return found


async def caught_up(settings: Settings) -> None:
    """Wait until every read model has read everything."""
    async with Api(settings) as api:

        async def none_behind() -> bool:
            with contextlib.suppress(Problem):
                models = (await api.query("/projections")).body
                return not [one for one in models if one["lag_events"] or one["state"] != "running"]
            return False

        await eventually(none_behind, CATCH_UP_S, every_s=0.5)


def history_ids(settings: Settings) -> Counter[str]:
    """How often each interaction is in the published table."""
    table = f'"{settings.postgres.db_schema}".user_history'
    with psycopg.connect(settings.postgres.dsn.get_secret_value()) as connection:
        return Counter(str(row[0]) for row in connection.execute(f"SELECT event_id FROM {table}".encode()))
