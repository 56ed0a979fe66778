"""Approval on the real stack, over HTTP: who may, what they see, what happens then, and what the report says of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from console.__main__ import app_for
from inference.report.page import page
from inference.report.report import report
from inference.report.scope import resolve
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment
from schemas.errors import Problem
from schemas.evidence import evidence_sha256

from ..calling import http_session
from ..eventually import eventually
from .town import Town, open_town

pytestmark = pytest.mark.long

Json = dict[str, Any]


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    """A registered version, and everything that brings it into production."""
    async with open_town(settings) as town:
        await town.stock()
        await town.start("queries", "deployer")
        await town.register(town.artifact())
        await eventually(lambda: town.row("SELECT 1 FROM model_registry WHERE model = %s", town.model))
        yield town


@dataclass
class Person:
    """Somebody with a key of their own."""

    town: Town
    name: str
    http: aiohttp.ClientSession

    async def says(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        """A command, at the route that is made for it."""
        base = self.town.settings.commands.url
        async with self.http.request(method, base + path, json=body) as response:
            return response.status, await response.json()

    async def asks(self, path: str, **params: str) -> tuple[int, Any]:
        async with self.http.get(self.town.settings.queries.url + path, params=params) as response:
            return response.status, await response.json()

    async def approves(self, deployment: Json, comment: str = "", **seen: str) -> tuple[int, Json]:
        """What they were shown, unless something else is said."""
        named = {name: deployment[name] for name in ("artifact_sha256", "evidence_sha256")}
        path = f"/models/{self.town.model}/deployments/{deployment['deployment_id']}/approve"
        return await self.says("POST", path, {**named, **seen, "comment": comment})


class People:
    """Makes keys, and sessions that use them."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._open: list[aiohttp.ClientSession] = []

    async def one(self, name: str, *roles: str) -> Person:
        """Somebody with these roles; waits until every service knows the key."""
        town = self._town
        body = {"name": name, "roles": list(roles)}
        async with (
            http_session(town.settings) as http,
            http.post(f"{town.settings.commands.url}/api-keys", json=body) as response,
        ):
            made = await response.json()
        access = town.settings.access.model_copy(update={"key": SecretStr(made["key"])})
        http = http_session(town.settings.model_copy(update={"access": access}))
        self._open.append(http)
        person = Person(town, name, http)
        await eventually(lambda: _knows(person))
        return person

    async def close(self) -> None:
        for http in self._open:
            await http.close()


async def _knows(person: Person) -> bool:
    """Whether both services answer to the key, be it that the role does not do."""
    command, _ = await person.says("POST", "/models/none/deployments", {})
    query, _ = await person.asks("/models")
    return 401 not in (command, query)


@pytest.fixture
async def people(town: Town) -> AsyncIterator[People]:
    made = People(town)
    yield made
    await made.close()


async def requested(town: Town, person: Person, version: int = 1) -> str:
    """A deployment that somebody asks for; its id."""
    id = f"d{version}-{uuid4().hex[:6]}"
    body = {"deployment_id": id, "version": version, "artifact_sha256": town.artifact()}
    status, answer = await person.says("POST", f"/models/{town.model}/deployments", body)
    assert status == 200, answer
    return id


async def test_two_people_let_a_version_serve_and_the_report_names_them(town: Town, people: People) -> None:
    """The whole way through the doors: each may do their part and no other, and every part is on record."""
    ana = await people.one("ana", "engineer")
    ben, eve = await people.one("ben", "approver", "engineer"), await people.one("eve", "approver")
    policy = {"approvals": 2, "reason": "four eyes"}
    assert (await eve.says("PUT", f"/models/{town.model}/approval-policy", policy))[0] == 403
    root = await people.one("root", "admin")
    assert (await root.says("PUT", f"/models/{town.model}/approval-policy", policy))[0] == 200

    id = await requested(town, ben)
    await town.reaches(id, "awaiting_approval")
    _, shown = await eve.asks(f"/deployments/{id}")
    assert (shown["approvals_wanted"], shown["approvals"]) == (2, [])
    assert shown["evidence_sha256"] == evidence_sha256(shown["evidence"])
    assert {"golden", "metrics", "registered", "artifact_sha256"} <= shown["evidence"]["validated"].keys()
    assert [one["deployment_id"] for one in (await eve.asks("/approvals"))[1]] == [id]

    assert (await ana.approves(shown))[0] == 403, "an engineer may not approve"
    assert (await ben.approves(shown))[1]["code"] == "four_eyes"
    assert (await eve.approves(shown, evidence_sha256="0" * 64))[1]["code"] == "other_evidence"
    status, problem = await eve.approves(shown, artifact_sha256="0" * 64)
    assert (status, problem["code"]) == (409, "other_artifact")
    by_hand = {"type": "PromoteDeployment", "data": {"model": town.model, "deployment_id": id}}
    status, problem = await root.says("POST", "/commands", by_hand)
    assert (status, problem["code"]) == (409, "not_approved")

    _, first = await eve.approves(shown, "recall is up")
    assert first["events"] == ["DeploymentApproved"]
    _, again = await eve.approves(shown, "recall is up")
    assert (again["outcome"], again["events"]) == ("accepted", [])
    carl = await people.one("carl", "approver")
    assert (await carl.approves(shown, "golden answers are exact"))[0] == 200
    await town.reaches(id, "completed")
    status, late = await (await people.one("dora", "approver")).approves(shown)
    assert (status, late["code"], "is completed: it serves already" in late["detail"]) == (
        409,
        "already_promoted",
        True,
    )

    done = (await eve.asks(f"/deployments/{id}"))[1]
    assert [(one["approver"], one["comment"]) for one in done["approvals"]] == [
        ("eve", "recall is up"),
        ("carl", "golden answers are exact"),
    ]
    _, before = await eve.asks(f"/deployments/{id}", **{"as-of": done["approvals"][0]["position"]})
    assert (before["step"], len(before["approvals"])) == ("awaiting_approval", 1), "as of the first approval"
    assert (await eve.asks(f"/models/{town.model}/approval-policy"))[1]["set_by"] == "root"

    decoder = await open_decoder(town.settings)
    made = await report(town.settings, decoder, await resolve(town.settings, decoder, None, None), town.model)
    told = made["models"][0]["deployments"][0]["approval"]
    assert told["text"] == "Approved by eve and carl, 2 of 2 wanted."
    assert told["asked"]["as_found"] is True
    assert next(one for one in made["checks"] if one["name"] == "approvals_as_policy")["passed"]
    assert "Approved by eve and carl" in page(made)


async def test_killed_while_it_waits_it_goes_on_waiting(town: Town, people: People) -> None:
    """Nothing is remembered but the log: the saga that hears the approval is another than the one that waited."""
    ana, eve = await people.one("ana", "engineer"), await people.one("eve", "approver")
    root = await people.one("root", "admin")
    await root.says("PUT", f"/models/{town.model}/approval-policy", {"approvals": 1})
    id = await requested(town, ana)
    await town.reaches(id, "awaiting_approval")
    await town.stop("deployer")
    assert (await eve.approves((await eve.asks(f"/deployments/{id}"))[1]))[0] == 200
    await town.reaches(id, "approved")
    await town.start("deployer")
    await town.reaches(id, "completed")
    assert await town.loaded(1) == [1]


async def test_a_refusal_and_a_lapse_leave_nothing_behind(town: Town, people: People) -> None:
    """One says no; nobody says anything: both times the version is taken back, and the reason says which."""
    ana, eve = await people.one("ana", "engineer"), await people.one("eve", "approver")
    root = await people.one("root", "admin")
    policy = f"/models/{town.model}/approval-policy"
    await root.says("PUT", policy, {"approvals": 1})
    id = await requested(town, ana)
    await town.reaches(id, "awaiting_approval")
    path = f"/models/{town.model}/deployments/{id}/decline"
    assert (await eve.says("POST", path, {"reason": "too few people"}))[0] == 200
    ended = await town.reaches(id, "rolled_back")
    assert (ended["declined_by"], ended["reason"]) == ("eve", "too few people")

    await root.says("PUT", policy, {"approvals": 1, "timeout_s": 1})
    ended = await town.reaches(await requested(town, ana), "rolled_back")
    assert ended["reason"] == "nobody approved version 1 within 0:00:01"
    assert await town.loaded(1) == []


async def retrace(person: Person, *arguments: str, answer: str = "") -> tuple[int, str]:
    """What the command says to somebody with this key, in a thread beside the services."""
    key = person.http.headers["Authorization"].removeprefix("Bearer ")
    environment = child_environment(person.town.settings) | {"RETRACE_ACCESS__KEY": key, "COLUMNS": "200"}
    line = ["approvals", *arguments]
    result = await asyncio.to_thread(CliRunner().invoke, app_for(line), line, input=answer, env=environment)
    problem = result.exception.detail if isinstance(result.exception, Problem) else ""
    return result.exit_code, result.output + problem


async def test_the_command_line_shows_what_it_sends(town: Town, people: People) -> None:
    """Somebody at a terminal sees the evidence before they say yes, and only what they saw is approved."""
    ana, eve = await people.one("ana", "engineer"), await people.one("eve", "approver")
    root = await people.one("root", "admin")
    status, said = await retrace(root, "policy", town.model, "--approvals", "1", "--days", "2", "--reason", "four eyes")
    assert (status, "1 approval of one person, never the one who asks, within 2 days (set by root" in said) == (0, True)
    id = await requested(town, ana)
    row = await town.reaches(id, "awaiting_approval")
    assert id in (await retrace(eve, "list"))[1]
    status, shown = await retrace(eve, "show", id)
    assert (status, row["evidence_sha256"] in shown, "validated: metrics" in shown) == (0, True, True), shown
    status, said = await retrace(eve, "approve", id, "--evidence", "0" * 64)
    assert (status, "look at it again" in said) == (1, True)
    assert (await retrace(eve, "approve", id, answer="n\n"))[0] == 1
    status, said = await retrace(ana, "approve", id, "--evidence", row["evidence_sha256"])
    assert (status, "approver" in said) == (1, True), "an engineer is told which role it takes"
    status, said = await retrace(eve, "approve", id, "--evidence", row["evidence_sha256"][:12], "--comment", "fine")
    assert (status, "approved" in said) == (0, True), said
    await town.reaches(id, "completed")
    assert "approved by eve" in (await retrace(eve, "show", id))[1]
    assert "nothing waits" in (await retrace(eve, "list"))[1]
    status, said = await retrace(eve, "decline", id, "--reason", "too late")
    assert (status, "serves already" in said or "is promoted" in said) == (1, True)
