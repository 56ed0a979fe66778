"""The consumers' real code asks what their pacts say, and lives with the answers."""

from typing import Any

import pytest

from console import runs
from console.api import Api
from console.train import followed
from inference.client import CommandClient
from infra.settings import HttpSettings, Settings
from schemas.deployments import ReportLoading
from schemas.errors import Problem, TimedOut
from schemas.models import OffsetRange, StartTraining

from .pact import faults, pact, pacts
from .stub import Stub, running

VERIFIED = {("console", "commands"), ("console", "queries"), ("console", "serving"), ("workers", "commands")}


def at(stub: Stub, service: str) -> Settings:
    address = HttpSettings(host="127.0.0.1", port=stub.port)
    return Settings.model_validate({service: address.model_dump()})


def well_used(stub: Stub) -> None:
    assert not stub.unexpected
    assert not stub.unasked


async def test_the_console_sends_commands_as_agreed() -> None:
    """A renamed path or field would otherwise show in the demo first."""
    line = {"user_id": "pact-user", "item_id": "known-item", "kind": "click", "occurred_at": "2026-01-01T00:00:00Z"}
    async with running(agreed := pact("console", "commands")) as stub, Api(at(stub, "commands")) as api:
        item = {"item_id": "pact-item", "title": "An item", "categories": ["comedy"]}
        assert (await api.command("POST", "/items", item)).position
        assert (await api.command("POST", "/users", {"user_id": "pact-user"})).position
        assert (await api.command("POST", "/interactions", line)).body["event_id"]
        bulk = next(one for one in agreed.interactions if one.path == "/interactions/bulk")
        sent = await api.call(stub.url, "POST", bulk.path, data=bulk.body, headers=bulk.headers)
        assert sent.body["accepted"] + sent.body["refused"] == 2
        body = {"algorithm": "popularity", "params": {}, "k": 100}
        assert (await api.command("POST", "/models/pact/training-runs", body)).body["command_id"]
        assert (await runs.order(api, "pact", "other-run", "cancel", "wrong", key="pact-cancel"))["position"]
        assert (await runs.order(api, "pact", "other-run", "retry", key="pact-retry"))["position"]
        with pytest.raises(Problem, match=r"\.\.\."):
            await runs.order(api, "pact", "no-run", "cancel", key="pact-no-run")
        with pytest.raises(Problem) as refused:
            await api.command("POST", "/items", {"item_id": "known-item", "title": "Known"})
        assert refused.value.code == "item_exists"
        well_used(stub)


async def test_the_console_asks_as_agreed() -> None:
    """What it follows and shows has to be in the answers."""
    async with running(pact("console", "queries")) as stub, Api(at(stub, "queries")) as api:
        with pytest.raises(TimedOut):
            await followed(api, "known-run", wait_s=0.05)
        with pytest.raises(TimedOut):
            await followed(api, "no-run", wait_s=0.05)
        assert [run["run_id"] for run in await runs.all_runs(api, "pact", None, 5)] == ["known-run"]
        run, steps = await runs.story(api, "known-run", "pact")
        assert (runs.said(run | {"ahead": 0, "waits_for": None}), steps[0]["name"]) == (
            "run known-run waits: for a trainer",
            "requested",
        )
        assert (await api.query("/users/known-user/history", {"limit": "1"})).body["interactions"]
        assert (await api.query("/items/search", {"q": "known", "limit": "3"})).body["items"][0]["title"]
        assert (await api.query("/projections")).body[0]["lag_events"] == 0
        well_used(stub)


async def test_the_console_wants_recommendations_as_agreed() -> None:
    """The decision's id is what an explanation begins with."""
    async with running(pact("console", "serving")) as stub, Api(at(stub, "serving")) as api:
        assert (await api.recommend("known-user", model="pact")).body["decision_id"]
        well_used(stub)


async def test_the_workers_report_as_agreed() -> None:
    """A report that is not understood leaves a run or a deployment hanging."""
    ranges = (OffsetRange(topic="interactions", partition=0, first=0, end=1),)
    started = StartTraining(model="pact", run_id="known-run", ranges=ranges)
    async with running(pact("workers", "commands")) as stub, CommandClient(at(stub, "commands"), actor="t") as client:
        accepted = await client.send(started, key="0f2d9b1c-0000-5000-8000-000000000001")
        assert accepted.command_id
        assert accepted.position
        with pytest.raises(Problem) as refused:
            await client.send(StartTraining(model="pact", run_id="no-run", ranges=()))
        assert (refused.value.status, refused.value.code) == (404, "unknown_run")
        assert (await client.send(ReportLoading(model="pact", deployment_id="nowhere", ok=True))).position
        well_used(stub)


def test_every_pact_has_a_consumer_test() -> None:
    """A file that nobody runs says nothing."""
    assert {(one.consumer, one.provider) for one in pacts()} == VERIFIED


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ({"a": 1}, {}),
        ({"a": 1}, {"a": "1"}),
        ({"a": {"b": 1}}, {"a": {"c": 1}}),
        ([{"a": 1}], []),
        ([{"a": 1}], [{"a": 1}, {"b": 1}]),
        (1.5, "1.5"),
        ({"a": None}, []),
    ],
)
def test_the_judge_sees_what_is_missing(wanted: Any, got: Any) -> None:
    """A judge that finds everything right proves nothing."""
    assert list(faults(wanted, got))
