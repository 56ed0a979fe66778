"""An erasure waits for nobody: not even for an event of the same person that could not be taken."""

from typing import Any

from aiokafka import AIOKafkaProducer
from psycopg import AsyncConnection

from infra.kafka.connect import aiokafka_options
from infra.kafka.records import Decoder
from infra.settings import Settings
from projections.views import user_profile
from schemas.profiles import PreferencesChanged, UserErased, UserRegistered

from ..eventually import eventually
from .running import StartProjector
from .telling import Decided

Database = AsyncConnection[dict[str, Any]]


async def test_an_erasure_is_heard_though_the_key_waits(
    settings: Settings, decoder: Decoder, database: Database, projector: StartProjector
) -> None:
    """Whoever must be forgotten is forgotten now, whatever else is wrong with their data."""
    projector(user_profile.VIEW)
    table = user_profile.VIEW.physical
    await eventually(lambda: _made(database, table))
    await database.execute(f"ALTER TABLE {table} ADD CONSTRAINT fits CHECK (language <> 'xx')".encode())
    async with AIOKafkaProducer(**aiokafka_options(settings.kafka)) as producer:
        log = Decided(settings, decoder, producer)
        await log.append(UserRegistered(user_id="ana", name="Ana", attributes={}))
        await log.append(PreferencesChanged(user_id="ana", language="xx"))
        await eventually(lambda: _counts(database, table, users=1, parked=1))
        await log.append(PreferencesChanged(user_id="ana", language="de"))
        await eventually(lambda: _counts(database, table, users=1, parked=2))
        await log.append(UserErased(user_id="ana", reason="request 12"))
    await eventually(lambda: _counts(database, table, users=0, parked=2))


async def _made(database: Database, table: str) -> bool:
    rows = await database.execute("SELECT to_regclass(%s) IS NOT NULL AS made", (table,))
    return bool((await rows.fetchone() or {})["made"])


async def _counts(database: Database, table: str, *, users: int, parked: int) -> bool:
    query = f"SELECT (SELECT count(*) FROM {table}) AS users, (SELECT count(*) FROM projection_parked) AS parked"
    row = await (await database.execute(query.encode())).fetchone()
    return row == {"users": users, "parked": parked}
