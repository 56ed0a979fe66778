"""Two tenants on one log: nothing of the one shows in the read models, datasets and workers of the other."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from inference.datasets.dataset import build, fixed_ranges
from inference.follower import Follower
from infra.access.client import headers_of
from infra.kafka.ranges import ranges_now
from infra.kafka.replay import recorded
from infra.personal.fields import opened
from infra.personal.keys import Keys
from infra.personal.seal import Person
from infra.postgres import connect
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.topics import DECIDED

from ..eventually import eventually
from .town import Town, open_town

WHEN = "2026-01-01T00:00:00Z"
OURS, THEIRS = "default", "elsewhere"
EXPECTED = {
    "user_history": 2,
    "user_profile": 2,
    "popularity": 2,
    "catalogue": 2,
    "training_runs": 1,
    "api_keys": 1,
}
"""Rows of read models when all of ours has been folded."""


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    """Both tenants did the same, under ids that tell whose they are; theirs first, so that ours come last."""
    async with open_town(settings) as town:
        for tenant in (THEIRS, OURS):
            await did(town, tenant)
        yield town


async def did(town: Town, tenant: str) -> None:
    """An item, a user with consent withdrawn, an interaction, a training run and a key; some ids are those of both."""
    for method, path, body in (
        ("POST", "/items", {"item_id": f"item-{tenant}", "title": tenant}),
        ("POST", "/items", {"item_id": "shared", "title": tenant}),
        ("POST", "/users", {"user_id": f"user-{tenant}", "name": tenant}),
        ("POST", "/users", {"user_id": "both", "name": tenant}),
        ("DELETE" if tenant == THEIRS else "PUT", "/users/both/consents/training", None),
        ("POST", "/models/shared/training-runs", {"algorithm": "popularity", "run_id": f"run-{tenant}"}),
        ("POST", "/api-keys", {"name": tenant, "roles": ["product"]}),
        ("POST", "/interactions", {"user_id": "both", "item_id": "shared", "kind": "view", "occurred_at": WHEN}),
        (
            "POST",
            "/interactions",
            {"user_id": f"user-{tenant}", "item_id": f"item-{tenant}", "kind": "view", "occurred_at": WHEN},
        ),
    ):
        headers = {**headers_of(town.settings), "x-tenant": tenant}
        url = town.settings.commands.url + path
        async with town.http.request(method, url, json=body, headers=headers) as answer:
            assert answer.status in (200, 201), await answer.text()


async def content(town: Town, table: str) -> list[dict[str, Any]]:
    async with await connect(town.settings, "test") as connection:
        return await (await connection.execute(f"SELECT * FROM {table}".encode())).fetchall()


async def test_nothing_of_another_tenant_shows(town: Town) -> None:
    """Every published table, looked at whole: a filter that one path forgets would show here."""

    async def folded() -> bool:
        return all([len(await content(town, name)) == rows for name, rows in EXPECTED.items()])

    await eventually(folded, 60, 0.1)
    async with await connect(town.settings, "test") as connection:
        query = "SELECT viewname FROM pg_views WHERE schemaname = current_schema()"
        names = [row["viewname"] for row in await (await connection.execute(query)).fetchall()]
    assert {"user_profile", "command_log", "api_keys", "popularity"} <= set(names)
    for name in names:
        for row in await content(town, name):
            assert THEIRS not in str(row), name
    [shared] = [row for row in await content(town, "popularity") if row["item_id"] == "shared"]
    assert shared["interactions"] == 1
    [both] = [row for row in await content(town, "user_profile") if row["user_id"] == "both"]
    person = Person(OURS, "both")
    name = opened(await Keys(town.settings).of(person), person, "name", both["name"])
    assert (name, both["training"]) == (OURS, True)


async def test_nobody_trains_on_another_tenants_data(town: Town) -> None:
    """Their interactions are not ours, and neither is their withdrawal of consent."""
    decoder = await open_decoder(town.settings)
    dataset = await build(town.settings, decoder, await fixed_ranges(town.settings, ()))
    assert sorted(dataset.rows["user_id"]) == ["both", f"user-{OURS}"]
    assert dataset.manifest.withdrawn_users == 0


async def test_replay_reads_one_tenants_events(town: Town) -> None:
    """What an auditor exports or explains is this installation's alone."""
    decoder = await open_decoder(town.settings)
    ranges = await ranges_now(town.settings, [*DECIDED, "interactions"])
    events = [one async for one in recorded(town.settings, decoder, ranges)]
    assert {one.meta.tenant for one in events} == {OURS}
    theirs = town.settings.model_copy(update={"tenant": THEIRS})
    others = [one async for one in recorded(theirs, decoder, ranges)]
    assert {one.meta.tenant for one in others} == {THEIRS}
    assert len(others) == len(events)


async def test_workers_hear_their_own_tenant(town: Town) -> None:
    """A trainer that carried out another tenant's run would report it under the wrong name."""
    decoder = await open_decoder(town.settings)
    heard: list[str] = []
    async with Follower(town.settings, decoder, group="test-tenants", topic="models") as follower:

        async def all_heard() -> bool:
            batch = await follower.poll()
            heard.extend(one.recorded.meta.tenant for one in batch.events)
            return batch.caught_up

        await eventually(all_heard)
    assert heard == [OURS]
