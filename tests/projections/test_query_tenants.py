"""No query shows another tenant's data, whatever the log holds: every operation that is described is asked."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from psycopg import sql

from infra.access.key import ApiKey, new_key
from infra.ending import ended
from infra.health import Health
from infra.http import QuietServer, install, server_config
from infra.kafka.connect import aiokafka_options
from infra.kafka.records import Decoder
from infra.kafka.topics import create_topics
from infra.postgres import connect
from infra.settings import HttpSettings, Settings
from projections import runner
from projections.api import create_app
from projections.owner import ForeignReadSide, own
from projections.testing import minute
from projections.view import topics_of
from schemas.access import ApiKeyCreated
from schemas.codec import class_of
from schemas.contracts import Contract, contracts
from schemas.profiles import PersonalDataDestroyed, UserErased

from ..calling import http_session
from ..eventually import eventually
from .conftest import Get
from .telling import Decided

pytestmark = pytest.mark.long

TENANTS = ("north", "south")
IDS = ("k1", "k2")
FOLDED = sorted({topic for projection in runner.declared() for topic in topics_of(projection)} - {"access"})
ERASING = (UserErased.AVRO, PersonalDataDestroyed.AVRO)
KINDS = [
    contract.full_name
    for contract in contracts().values()
    if contract.kind == "event" and not contract.is_retired and contract.topic in FOLDED
    if contract.context != "deadletters"  # they are about records, which ours are not
    if contract.full_name not in ERASING  # of whom they are about there would be nothing left to see
]
DIMENSIONS = 384
PAUSES_S = (1, 2, 3, 4)


def mark(tenant: str) -> str:
    """What stands in every text of a tenant, and in no other's."""
    return f"{tenant}secret"


def event_of(contract: Contract, id: str, text: str) -> Any:
    """An event whose ids are everybody's, and whose other texts are all `text`."""
    said = {one["name"]: id if _names(contract, one["name"]) else text for one in contract.fields}
    if "data" in said:  # a command, as JSON
        said["data"] = f'{{"note": "{text}"}}'
    return class_of(contract)(**{one["name"]: _value(one["type"], said[one["name"]]) for one in contract.fields})


def _names(contract: Contract, name: str) -> bool:
    return name == contract.key or name.endswith("_id") or name == "model"


def _value(schema: Any, text: str) -> Any:
    match schema:
        case [*branches]:
            return _value(next(branch for branch in branches if branch != "null"), text)
        case {"type": "array", "items": "float"}:
            return (0.05,) * DIMENSIONS
        case {"type": "array"}:
            return ()
        case {"type": "map", "values": "string"}:
            return {"note": text}
        case {"type": "map"}:
            return {}
        case {"type": "enum", "symbols": [first, *_]}:
            return first
        case {"logicalType": "timestamp-micros"}:
            return minute(0)
        case {"type": inner}:
            return _value(inner, text)
        case "string":
            return text
        case "bytes":
            return text.encode()
        case "boolean":
            return False
        case "int" | "long":
            return 1
        case _:
            return 1.0


@dataclass
class Installation:
    """The read side of one tenant, running in this process.

    Attributes:
        keys: of every tenant; only its own should open.
    """

    settings: Settings
    url: str
    keys: Mapping[str, ApiKey]
    http: aiohttp.ClientSession
    seen: list[str] = field(default_factory=list)

    async def ask(self, tenant: str, path: str, **params: str) -> tuple[int, str]:
        """Status, and everything that the answer says, headers included; what is late or away is asked again."""
        status, said = await self._ask(tenant, path, params)
        for pause_s in PAUSES_S:
            if status not in (503, 504):
                break
            await asyncio.sleep(pause_s)
            status, said = await self._ask(tenant, path, params)
        return status, said

    async def _ask(self, tenant: str, path: str, params: Mapping[str, str]) -> tuple[int, str]:
        headers = {"authorization": f"Bearer {self.keys[tenant].text}"}
        async with self.http.get(self.url + path, params=params, headers=headers) as response:
            said = f"{dict(response.headers)} {await response.text()}"
            self.seen.append(said)
            return response.status, said

    async def current(self) -> bool:
        """Whether every read model has come to the end of the log."""
        async with self.http.get(
            f"{self.url}/projections", headers={"authorization": f"Bearer {self.keys[self.settings.tenant].text}"}
        ) as response:
            found = await response.json()
        return response.status == 200 and all(one["state"] == "running" and one["lag_events"] == 0 for one in found)


@asynccontextmanager
async def installation(settings: Settings, keys: Mapping[str, ApiKey]) -> AsyncIterator[Installation]:
    """A projector and the query API of one tenant."""
    app = create_app(settings, Health("queries"))
    install(app, Health("queries"))
    server = QuietServer(server_config(app, HttpSettings()))
    async with http_session(settings) as http:
        tasks = [
            asyncio.create_task(runner.run(settings, Health("projector"), runner.declared())),
            asyncio.create_task(server.serve()),
        ]
        try:
            await eventually(lambda: _started(server))
            port = server.servers[0].sockets[0].getsockname()[1]
            yield Installation(settings, f"http://127.0.0.1:{port}", keys, http)
        finally:
            server.should_exit = True
            await asyncio.gather(ended(tasks[0]), tasks[1], return_exceptions=True)


async def _started(server: QuietServer) -> bool:
    return bool(server.started)


@dataclass
class Town:
    """Two tenants on the topics of one Kafka.

    Attributes:
        log: writes into it.
        number: of the event that comes next.
    """

    installations: Mapping[str, Installation]
    log: Decided
    number: int = 0

    async def say(self, tenant: str, kind: str, id: str) -> None:
        """Let a tenant say something."""
        self.number += 1
        contract = contracts()[kind]
        event = event_of(contract, id, f"{mark(tenant)}{self.number}")
        await self.log.append(event, topic=contract.topic, key=id, tenant=tenant, actor=mark(tenant))


@pytest.fixture
async def town(settings: Settings, decoder: Decoder) -> AsyncIterator[Town]:
    await create_topics(settings)
    keys = {tenant: new_key() for tenant in TENANTS}
    async with AIOKafkaProducer(**aiokafka_options(settings.kafka)) as producer, AsyncExitStack() as running:
        log = Decided(settings, decoder, producer)
        for tenant, key in keys.items():
            created = ApiKeyCreated(key_id=key.id, secret_sha256=key.sha256, name=mark(tenant), roles=("admin",))
            await log.append(created, tenant=tenant, actor=mark(tenant))
        started = {t: await running.enter_async_context(installation(of(settings, t), keys)) for t in TENANTS}
        yield Town(started, log)
    async with await connect(settings, "tests") as connection:
        for tenant in TENANTS:
            schema = sql.Identifier(of(settings, tenant).postgres.db_schema)
            await connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))


def of(settings: Settings, tenant: str) -> Settings:
    """The settings of one tenant's read side: the same log, its own schema and indices."""
    postgres = settings.postgres.model_copy(update={"db_schema": f"{settings.postgres.db_schema}_{tenant}"})
    elastic = settings.elastic.model_copy(update={"index_prefix": f"{settings.elastic.index_prefix}{tenant}-"})
    return settings.model_copy(update={"tenant": tenant, "postgres": postgres, "elastic": elastic})


SAID = st.lists(
    st.tuples(st.sampled_from(TENANTS), st.sampled_from(KINDS), st.sampled_from(IDS)), min_size=20, max_size=60
)


@pytest.mark.timeout(600)
@budget(
    max_examples=2,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.generate],  # the log only grows: what failed cannot be made smaller
)
@given(said=SAID)
async def test_no_query_shows_another_tenants_data(town: Town, said: Sequence[tuple[str, str, str]]) -> None:
    """However their events alternate under the same keys of the same topics, each sees its own and nothing else."""
    for tenant, kind, id in [*_everything(), *said]:
        await town.say(tenant, kind, id)
    for tenant, mine in town.installations.items():
        (other,) = set(TENANTS) - {tenant}
        await eventually(mine.current, within_s=100)
        answered = 0
        for path, params in await _asked(mine, other):
            status, answer = await mine.ask(tenant, path, **params)
            assert status < 500, (path, params, answer)
            assert mark(other) not in answer.replace(str(params), ""), (path, params)
            answered += mark(tenant) in answer
            refused, problem = await mine.ask(other, path, **params)
            assert refused == 403, (path, refused)
            assert mark(tenant) not in problem, path
        assert answered > len(TENANTS) * 10, "a test that sees nothing shows nothing"


async def test_a_schema_is_one_tenants(settings: Settings, get: Get) -> None:
    """A service that is pointed at another tenant's tables by mistake must not answer from them."""
    await own(settings.model_copy(update={"tenant": "north"}))
    with pytest.raises(ForeignReadSide, match="of tenant 'north'"):
        await own(settings)
    status, problem, _ = await get("/models")
    assert (status, problem["code"]) == (503, "foreign_read_side")


def _everything() -> Iterator[tuple[str, str, str]]:
    """Each event once from each tenant, so that every operation has something to tell."""
    for kind in KINDS:
        for tenant in TENANTS:
            yield tenant, kind, IDS[0]


async def _asked(mine: Installation, other: str) -> list[tuple[str, dict[str, str]]]:
    """Every guarded GET that is described, with every id, and in the ways that its parameters allow."""
    async with mine.http.get(f"{mine.url}/openapi.json") as response:
        document = await response.json()
    found: list[tuple[str, dict[str, str]]] = []
    for path, operations in document["paths"].items():
        if "get" not in operations or not operations["get"]["x-roles"]:
            continue
        names = {one["name"] for one in operations["get"].get("parameters", ()) if one["in"] == "query"}
        for id in IDS:
            place = re.sub(r"\{(\w+)\}", lambda name: "1" if name[1] == "version" else id, path)  # noqa: B023
            found += [(place, params) for params in _ways(names, other)]
    return found


def _ways(names: set[str], other: str) -> Iterator[dict[str, str]]:
    yield {}
    if "exact" in names:
        yield {"exact": "true"}
        yield {"as-of": datetime.now(UTC).isoformat().replace("+00:00", "Z")}
    if "q" in names:
        yield {"q": "secret"}
    if "user_id" in names:
        yield {"user_id": IDS[0]}
    if "limit" in names:
        yield {"limit": "1"}
