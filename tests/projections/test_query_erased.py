"""Queries about people: what is sealed is opened for the answer, and of the erased nothing is said but that."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from uuid import NAMESPACE_URL, uuid5

import pytest
from aiokafka import AIOKafkaProducer
from psycopg import AsyncConnection

from infra.kafka.connect import aiokafka_options
from infra.kafka.facts import FactWriter
from infra.kafka.records import Decoder
from infra.personal.fields import sealed_fields
from infra.personal.keys import Keys
from infra.personal.seal import Person, is_sealed
from infra.postgres import connect
from infra.settings import Settings
from schemas.contracts import contracts
from schemas.profiles import UserErased, UserRegistered

from .conftest import Get
from .running import StartProjector
from .samples import served
from .telling import Decided, folded, meta_of, viewed

ANA = Person("default", "ana")
SECRET = "Ana-Lucía Quetzalcóatl"


@dataclass(frozen=True)
class Told:
    """Somebody with a name, a history and a decision: how to go on, and where the registration stands."""

    log: Decided
    registered: str

    async def erased(self) -> dict[str, object]:
        """Erase her; what a query has to ask with to know of it."""
        position = await self.log.append(UserErased(user_id="ana", reason="asked"))
        return {"min-position": str(position), "wait": 20}


@pytest.fixture
async def told(
    settings: Settings, decoder: Decoder, database: AsyncConnection, writer: FactWriter, projector: StartProjector
) -> AsyncIterator[Told]:
    key = await Keys(settings).made(ANA)
    fields = {"user_id": "ana", "name": SECRET, "attributes": {"city": SECRET}}
    sealed = sealed_fields(contracts()[UserRegistered.AVRO], fields, ANA, key)
    async with AIOKafkaProducer(**aiokafka_options(settings.kafka)) as producer:
        log = Decided(settings, decoder, producer)
        registered = await log.append(UserRegistered(**sealed))
        await log.append(UserRegistered(user_id="ben", name="enc: is a name"))
        await writer.append_all(
            [(viewed("ana", "i1", 1), replace(meta_of(viewed("ana"), "ana"), id=uuid5(NAMESPACE_URL, "1")))]
        )
        await writer.append_all([(served("dec1"), meta_of(served("dec1"), "ana"))])
        await folded(settings, database, projector())
        yield Told(log, str(registered))


async def test_a_profile_is_opened_for_the_answer_alone(told: Told, settings: Settings, get: Get) -> None:
    """The read model has it sealed; the client never notices."""
    fresh = {"min-position": told.registered, "wait": 20}
    status, profile, _ = await get("/users/ana", **fresh)
    assert (status, profile["name"], profile["attributes"]) == (200, SECRET, {"city": SECRET})
    status, profile, _ = await get("/users/ana", exact="true")
    assert (status, profile["name"]) == (200, SECRET)
    async with await connect(settings, "test") as connection:
        row = await (await connection.execute("SELECT * FROM user_profile WHERE user_id = 'ana'")).fetchone()
    assert row is not None
    assert is_sealed(row["name"])
    assert SECRET not in repr(row)


async def test_a_name_of_before_there_were_keys_is_shown_as_it_is(told: Told, get: Get) -> None:
    """Old logs are read by new readers."""
    _, profile, _ = await get("/users/ben", **{"min-position": told.registered, "wait": 20})
    assert profile["name"] == "enc: is a name"


async def test_without_its_key_a_name_is_null(told: Told, settings: Settings, get: Get) -> None:
    """The key goes first; a read model that is behind, or a backup of one, shows nothing from then on."""
    await Keys(settings).destroy(ANA)
    status, profile, _ = await get("/users/ana", **{"min-position": told.registered, "wait": 20})
    assert (status, profile["name"], profile["attributes"]) == (200, None, {})


QUERIES = ("/users/ana", "/users/ana/history", "/users/ana/decisions")


async def test_queries_about_the_erased_say_so(told: Told, get: Get) -> None:
    """410 and when; that the past is not told either, the tests of exact reads show."""
    fresh = await told.erased()
    for path in QUERIES:
        status, problem, _ = await get(path, **fresh)
        assert (status, problem["code"]) == (410, "erased_user"), (path, problem)
        assert problem["erased_at"]
    assert (await get("/users/ben", **fresh))[0] == 200


async def test_a_decision_for_somebody_erased_is_a_number_without_a_person(told: Told, get: Get) -> None:
    """Found by its id, it tells neither whom it was for nor what was shown; a search does not find it."""
    fresh = await told.erased()
    status, decision, _ = await get("/decisions/dec1", **fresh)
    assert (status, decision["user_id"][:7], decision["items"], decision["history_sha256"]) == (200, "erased/", [], "")
    _, found, _ = await get("/decisions/search", user_id="ana", **fresh)
    assert found["total"] == 0


async def test_no_table_about_people_names_the_erased(told: Told, settings: Settings, get: Get) -> None:
    """Not the tables that are shown alone: also those that tell repeats."""
    fresh = await told.erased()
    for path in ("/users/ben", "/users/ben/history", "/users/ben/decisions"):  # each waits for a table of its own
        await get(path, **fresh)
    async with await connect(settings, "test") as connection:
        for table in ("user_profile_v1", "user_history_v1", "user_history_v1_seen", "decisions_v1"):
            found = await (await connection.execute(f"SELECT * FROM {table}".encode())).fetchall()
            assert "ana" not in repr(found), table
