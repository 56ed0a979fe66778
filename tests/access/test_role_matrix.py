"""Every role at every door: generated from what the services describe, so that a new route is tested at once."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import SecretStr

import commands.api.app
import inference.serving.app
import projections.api
from commands.api.openapi import COMMANDS
from infra.access.gate import Gate
from infra.access.key import ApiKey, new_key
from infra.access.openapi import ROLES_MEMBER, open_to_all
from infra.access.route import GuardedRoute, guarded
from infra.health import Health
from infra.http import install
from infra.settings import AccessSettings, Settings
from schemas.access import ApiKeyCreated
from schemas.envelope import Meta, Recorded
from schemas.position import Position
from schemas.roles import ADMIN, ROLES

CREATE = {
    "commands": commands.api.app.create_app,
    "queries": projections.api.create_app,
    "serving": inference.serving.app.create_app,
}
OPEN = {"/health/live", "/health/ready", "/metrics", "/lineage/facets/{name}"}
INSTALLATION = new_key()
KEYS: dict[str, ApiKey] = {role: new_key() for role in ROLES}
FOREIGN = new_key()
MISTYPED = INSTALLATION.text[:-1] + ("1" if INSTALLATION.text.endswith("0") else "0")
REFUSALS = {"role_missing", "foreign_tenant", "key_missing", "unknown_key"}


@cache
def app_of(name: str) -> FastAPI:
    """A service that is not started: nothing but its doors works."""
    access = AccessSettings(key=SecretStr(INSTALLATION.text), admin_hash=INSTALLATION.sha256)
    health = Health(name)
    app = CREATE[name](Settings(access=access), health)
    install(app, health)
    for role, key in KEYS.items():
        app.state.gate.ring.take(created(key, role, "default"))
    app.state.gate.ring.take(created(FOREIGN, ADMIN, "elsewhere"))
    app.state.gate.ring.complete = True
    return app


def created(key: ApiKey, role: str, tenant: str) -> Recorded:
    event = ApiKeyCreated(key_id=key.id, secret_sha256=key.sha256, name=role, roles=(role,))
    now = datetime.now(UTC)
    meta = Meta(id=uuid4(), type=event.AVRO, source="test", subject=key.id, time=now, tenant=tenant)
    return Recorded(event, meta, Position("access", 0, 0))


def operations() -> Iterator[tuple[str, str, str, frozenset[str]]]:
    """Service, method, path and roles of every operation that is described."""
    for name in CREATE:
        for path, methods in app_of(name).openapi()["paths"].items():
            for method, described in methods.items():
                yield name, method.upper(), path, frozenset(described[ROLES_MEMBER])


OPERATIONS = list(operations())
each_operation = pytest.mark.parametrize(
    ("service", "method", "path", "roles"), OPERATIONS, ids=[f"{o[0]} {o[1]} {o[2]}" for o in OPERATIONS]
)


async def asked(service: str, method: str, path: str, key: ApiKey | None, **options: Any) -> tuple[int, str]:
    """Status and code of an answer; what is behind the door does not work here, and need not."""
    transport = httpx2.ASGITransport(app_of(service), raise_app_exceptions=False)
    headers = {} if key is None else {"authorization": f"Bearer {key.text}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://retrace") as http:
        answer = await http.request(method, re.sub(r"\{\w+\}", "1", path), headers=headers, **options)
    is_problem = answer.headers.get("content-type") == "application/problem+json"
    return answer.status_code, answer.json()["code"] if is_problem else ""


@each_operation
async def test_a_door_opens_for_its_roles_alone(service: str, method: str, path: str, roles: frozenset[str]) -> None:
    """What the description says of a route is what it does, for each role by itself."""
    if path in OPEN:
        assert (await asked(service, method, path, None))[1] not in REFUSALS
        return
    assert roles
    assert await asked(service, method, path, None) == (401, "key_missing")
    assert await asked(service, method, path, new_key()) == (401, "unknown_key")
    for role, key in KEYS.items():
        status, code = await asked(service, method, path, key)
        if role in roles or role == ADMIN:
            assert code not in REFUSALS, role
        else:
            assert (status, code) == (403, "role_missing"), role


@each_operation
async def test_the_read_side_is_one_tenants(service: str, method: str, path: str, roles: frozenset[str]) -> None:
    """Its tables hold one tenant's data: not even another tenant's admin may look."""
    foreign = {await asked(service, method, path, FOREIGN)}
    if path in OPEN or service == "commands":
        assert not {code for _, code in foreign} & REFUSALS
    else:
        assert foreign == {(403, "foreign_tenant")}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda contract: contract.name)
async def test_a_command_by_its_type_takes_the_same_roles(command: Any) -> None:
    """The door that takes every command must not be a way around the others."""
    for role, key in KEYS.items():
        status, code = await asked("commands", "POST", "/commands", key, json={"type": command.name, "data": {}})
        if role in command.roles or role == ADMIN:
            assert code not in REFUSALS, role
        else:
            assert (status, code) == (403, "role_missing"), role


async def test_nobody_chooses_the_secret_of_a_key() -> None:
    """A key whose hash the caller chose could be one that others hold."""
    for name in ("CreateApiKey", "RotateApiKey"):
        answer = await asked("commands", "POST", "/commands", KEYS[ADMIN], json={"type": name, "data": {}})
        assert answer == (422, "unknown_command_type")


@pytest.mark.parametrize("service", CREATE)
def test_every_route_is_guarded(service: str) -> None:
    """A route of another class would not ask."""
    for route in iter_route_contexts(app_of(service).routes):
        if isinstance(route.original_route, APIRoute):
            assert isinstance(route.original_route, GuardedRoute), route.path


def test_a_route_that_says_nothing_cannot_be_made() -> None:
    """Forgetting is found at start, not by who finds the open door."""
    app = guarded(FastAPI(), Gate(Settings(), Health("test")))
    with pytest.raises(ValueError, match="says not who may use it"):
        app.get("/secrets")(test_a_route_that_says_nothing_cannot_be_made)
    app.get("/open", openapi_extra=open_to_all())(test_a_route_that_says_nothing_cannot_be_made)


@pytest.mark.parametrize("role", sorted(set(ROLES) - {ADMIN}))
def test_every_role_is_good_for_something(role: str) -> None:
    """A role that opens nothing is a mistake in the contracts or routes."""
    assert any(role in roles for _, _, path, roles in OPERATIONS if path != "/commands/{command_id}")


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (b"Basic YTpi", "malformed_key"),
        (b"Bearer", "malformed_key"),
        (b"Bearer ", "malformed_key"),
        (b"Bearer \xff\xfe", "malformed_key"),
        (b"bearer " + INSTALLATION.text[:-1].encode() + b"_", "malformed_key"),
        (
            b"Bearer " + INSTALLATION.text[:-1].encode() + (b"0" if INSTALLATION.text[-1] != "0" else b"1"),
            "mistyped_key",
        ),
        (b"Bearer " + b"x" * 10_000, "malformed_key"),
    ],
    ids=["another scheme", "nothing", "a blank", "no text", "another character", "another checksum", "too long"],
)
async def test_what_is_no_key_is_a_problem(authorization: bytes, code: str) -> None:
    """Whatever stands in the header, the answer is 401 with its reason and a challenge."""
    transport = httpx2.ASGITransport(app_of("queries"), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://retrace") as http:
        answer = await http.get("/models", headers=[(b"authorization", authorization)])
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["www-authenticate"] == 'Bearer realm="retrace", error="invalid_token"'
    assert INSTALLATION.text not in answer.text


@pytest.mark.parametrize("actor", ["", "a\nb", "x" * 201])
async def test_an_actor_is_a_name(actor: str) -> None:
    """It stands in the log for ever."""
    gate: Gate = app_of("commands").state.gate
    headers = [(b"authorization", f"Bearer {INSTALLATION.text}".encode()), (b"x-actor", actor.encode())]
    with pytest.raises(Exception, match="printable characters"):
        await gate.identify(headers)
