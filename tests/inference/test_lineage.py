"""Lineage on the real servers: from a version to its events and back, over HTTP and on the command line."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uuid6 import uuid7

from inference.datasets.dataset import build
from infra.kafka.partitioner import partition_of
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment
from schemas.models import OffsetRange, RequestTraining
from schemas.profiles import EraseUser, RegisterUser, WithdrawConsent

from ..eventually import eventually
from .town import DATA, ROOT, Town, open_town

pytestmark = pytest.mark.long

TRAINED = """
SELECT 1 FROM model_registry JOIN training_runs USING (model, run_id)
WHERE model = %s AND training_runs.status = 'completed'
"""


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    """One version has been trained; u1 had withdrawn consent, u2 went on afterwards, u3 is erased by now."""
    async with open_town(settings) as town:
        await town.start("queries")
        for user, items in DATA.histories().items():
            await town.interact(user, *items)
        for user in ("u1", "u3"):
            await town.send(RegisterUser(user_id=user))
        await town.send(WithdrawConsent(user_id="u1", purpose="training"))
        await town.start_apart("trainer")
        run_id = str(uuid7())
        await town.send(RequestTraining(model=town.model, run_id=run_id, algorithm="popularity"))
        await eventually(lambda: town.row(TRAINED, town.model), 120, 0.3)
        await town.interact("u2", "i1", "i2")
        await town.send(EraseUser(user_id="u3", reason="asked for"))
        yield town


async def asked(town: Town, path: str, status: int = 200) -> Any:
    """An answer of the query API; None when it is another than expected."""
    async with town.http.get(town.settings.queries.url + path) as response:
        answer = await response.json()
        return answer if response.status == status else None


async def test_from_a_version_to_its_events_and_back(town: Town) -> None:
    """Who asks whether a person, an item or a bad batch is in a model gets what the dataset holds, row by row."""
    chain = await asked(town, f"/lineage/models/{town.model}")
    assert (chain["version"]["version"], chain["run"]["status"]) == (1, "completed")
    assert chain["steps"][0]["name"] == "requested"
    ranges = [OffsetRange(**{k: part[k] for k in ("topic", "partition", "first", "end")}) for part in chain["ranges"]]
    decoder = await open_decoder(town.settings)
    rows = (await build(town.settings, decoder, ranges)).rows  # of today: u3 is left out by now
    before = rows["user_id"].to_list() + ["u3"] * len(DATA.histories()["u3"])
    assert chain["dataset"]["dataset_rows"] == len(before)

    for user in ("u1", "u2", "u3", "u4", "nobody"):
        found = await asked(town, f"/lineage/users/{user}")
        (version,) = found["versions"]
        assert (version["rows"], version["saw"], version["exact"]) == (before.count(user), user in before, True), user
    assert (await asked(town, "/lineage/users/u1"))["versions"][0]["left_out"] == {
        "withdrawn": len(DATA.histories()["u1"])
    }
    (version,) = (await asked(town, "/lineage/items/i1"))["versions"]
    met = [user for user, items in DATA.histories().items() for item in items if item == "i1"]
    assert version["rows"] == len([user for user in met if user != "u1"])

    part = next(part for part in ranges if part.topic == "interactions" and part.end > 4)
    path = f"/lineage/ranges/interactions/{part.partition}?first=2&end=4"
    found = await asked(town, path)
    assert found["interactions"] == 2
    assert await asked(town, f"/lineage/ranges/interactions/{part.partition}?first=2&end=999999", 422)
    mine = partition_of("u1", town.settings.kafka.partitions)
    withdrawn = next(part for part in ranges if part.topic == "profiles" and part.partition == mine)
    found = await asked(town, f"/lineage/ranges/profiles/{withdrawn.partition}?first=0&end={withdrawn.end}")
    (version,) = found["versions"]
    assert (version["saw"], version["rows"], version["users"], version["exact"]) == (True, 1, 1, True)
    assert version["left_out"] == {"silent": found["interactions"] - 1}, "who registered is no matter of a dataset"
    assert await asked(town, f"/lineage/ranges/decisions/{part.partition}?first=0&end=0", 422)
    assert await asked(town, "/lineage/ranges/interactions/99?first=0&end=1", 404)
    assert await asked(town, f"/lineage/models/{town.model}?version=9", 404)
    assert (await asked(town, "/lineage/requests/unheard-of"))["interactions"] == 0

    runs = await asked(town, f"/training-runs?model={town.model}")
    assert [(run["status"], run["ahead"], run["percent"]) for run in runs] == [("completed", None, 100.0)]
    assert runs[0]["resources"]["cpu_s"] > 0
    steps = await asked(town, f"/training-runs/{runs[0]['run_id']}/steps?limit=2")
    assert [step["name"] for step in steps] == ["requested", "started"]
    await on_the_command_line(town, runs[0]["run_id"])


async def on_the_command_line(town: Town, run_id: str) -> None:
    """The same for people and scripts: what is found goes to standard output, alone."""
    listed = json.loads(await retrace(town, "runs", "list", "-o", "json"))
    assert [run["run_id"] for run in listed] == [run_id]
    shown = await retrace(town, "runs", "show", run_id)
    assert "completed" in shown
    assert "dataset_built" in shown
    again = await retrace(town, "runs", "cancel", run_id, status=1)
    assert "is completed" in again
    seen = json.loads(await retrace(town, "lineage", "--user", "u3", "-o", "json"))
    assert seen["versions"][0]["saw"]
    assert "interactions/" in await retrace(town, "lineage", f"{town.model}@1")
    told = [json.loads(line) for line in (await retrace(town, "lineage", "--openlineage", run_id)).splitlines()]
    assert [event["eventType"] for event in told] == ["START", "COMPLETE"]
    assert "give one of" in await retrace(town, "lineage", status=1)


async def retrace(town: Town, *arguments: str, status: int = 0) -> str:
    """What a command prints: its result, or when it is to fail, why."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", *arguments),
        env=child_environment(town.settings) | {"PYTHONPATH": str(ROOT), "COLUMNS": "250"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    assert child.returncode == status, err.decode()
    return (err if status else out).decode()
