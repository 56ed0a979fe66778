"""People over HTTP: what describes them is sealed before any log has it, and they can be forgotten."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import TopicPartition

from commands.aggregates import user as users
from commands.api.engine import Engine
from commands.api.repeats import REPLAYED
from commands.eraser import worker as eraser
from commands.eraser.worker import Erasure
from commands.scheduler import worker as scheduler
from commands.testing import Spec
from infra.ending import ended
from infra.health import Health
from infra.kafka.consumer import make_consumer
from infra.kafka.records import Raw, from_aiokafka
from infra.kafka.topics import physical
from infra.personal.fields import opened
from infra.personal.keys import Keys
from infra.personal.seal import Person
from infra.postgres import connect
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from projections import checkpoint
from schemas.codec import as_fields
from schemas.profiles import (
    ChangePreferences,
    ConsentGiven,
    EraseUser,
    GiveConsent,
    PersonalDataDestroyed,
    PreferencesChanged,
    RegisterUser,
    ReportDestruction,
    UserErased,
    UserRegistered,
    WithdrawConsent,
)
from schemas.topics import TOPICS

from ..eventually import eventually
from ..roles import running

SECRET = "Ana-Lucía Quetzalcóatl"
ERASED = UserErased(user_id="u", reason="asked")
user = Spec(users.AGGREGATE)


def test_anybody_can_be_erased_once() -> None:
    """Also whom only interactions tell of; said twice, it is meant once."""
    erase = EraseUser(user_id="u", reason="asked")
    user.given().when(erase).then(ERASED)
    user.given(UserRegistered(user_id="u")).when(erase).then(ERASED)
    user.given(ERASED).when(erase).nothing()


@pytest.mark.parametrize(
    "command",
    [
        RegisterUser(user_id="u"),
        ChangePreferences(user_id="u"),
        GiveConsent(user_id="u", purpose="training"),
        WithdrawConsent(user_id="u", purpose="training"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_nothing_can_be_said_of_an_erased_user(command: Any) -> None:
    """An erasure that a later command undoes is none."""
    user.given(UserRegistered(user_id="u"), ERASED).when(command).refused("erased_user", 410)


def test_the_state_of_an_erased_user_says_nothing_but_that() -> None:
    """The processor's memory and its snapshots forget as well."""
    said = (
        UserRegistered(user_id="u"),
        PreferencesChanged(user_id="u", language="de"),
        ConsentGiven(user_id="u", purpose="training"),
    )
    assert user.given(*said, ERASED).state == users.User(erased=True)


def test_a_destruction_is_reported_once_and_only_of_the_erased() -> None:
    """The audit reads when an erasure was complete; the eraser may say it twice after a crash."""
    report = ReportDestruction(user_id="u", position="profiles/0/3", keys=1, removed={"user_profile": 1})
    done = PersonalDataDestroyed(user_id="u", position="profiles/0/3", keys=1, removed={"user_profile": 1})
    user.given().when(report).refused("not_erased")
    user.given(ERASED).when(report).then(done)
    user.given(ERASED, done).when(report).nothing()


async def all_records(settings: Settings, *topics: str) -> list[Raw]:
    """Everything on these topics, and on those of their commands."""
    names = [
        name for topic in topics for name in (topic, TOPICS[topic].commands if TOPICS[topic].is_decided else topic)
    ]
    consumer = make_consumer(settings)
    await consumer.start()
    try:
        every = [
            TopicPartition(physical(settings, name), number)
            for name in dict.fromkeys(names)
            for number in range(settings.kafka.partitions)
        ]
        consumer.assign(every)
        await consumer.seek_to_beginning(*every)
        ends = await consumer.end_offsets(every)
        found: list[Raw] = []
        while any([await consumer.position(at) < end for at, end in ends.items()]):
            for got in (await consumer.getmany(timeout_ms=500)).values():
                found += [from_aiokafka(record, settings.topic_prefix) for record in got]
        return found
    finally:
        await consumer.stop()


def shows(raws: list[Raw], text: str) -> list[str]:
    """Positions of records whose bytes show a text."""
    wanted = text.encode()
    return [
        str(raw.position)
        for raw in raws
        if wanted in (raw.value or b"") or any(wanted in (value or b"") for _, value in raw.headers)
    ]


async def of_user(write_side: Any, user_id: str) -> list[Any]:
    """What the log says of somebody, decoded."""
    decoder = await open_decoder(write_side.settings)
    raws = [raw for raw in await all_records(write_side.settings, "profiles") if raw.key == user_id]
    await decoder.learn(raws)
    return [decoder.codec.decode(raw.value or b"") for raw in raws]


async def reported(write_side: Any, user_id: str) -> PersonalDataDestroyed:
    """The report on somebody, once it is on record."""

    async def found() -> PersonalDataDestroyed | None:
        said = await of_user(write_side, user_id)
        return next((one for one in said if isinstance(one, PersonalDataDestroyed)), None)

    return await eventually(found, within_s=60, every_s=0.2)


async def registered(write_side: Any, **more: Any) -> str:
    user_id = uuid.uuid4().hex
    body = {"user_id": user_id, "name": SECRET, "attributes": {"city": SECRET, SECRET: "x"}} | more
    answer = await write_side.call("POST", "/users", json=body)
    assert answer.status == 200, answer
    return user_id


async def test_a_name_is_never_on_a_log(write_side: Any) -> None:
    """Neither command nor event nor header shows it; whoever has the key reads it."""
    user_id = await registered(write_side)
    assert shows(await all_records(write_side.settings, "profiles"), SECRET) == []
    command, event = (as_fields(one) for one in await of_user(write_side, user_id))
    person = Person(write_side.settings.tenant, user_id)
    key = await Keys(write_side.settings).of(person)
    for said in (command, event):
        assert opened(key, person, "name", said["name"]) == SECRET
        assert opened(key, person, "attributes", said["attributes"]) == {"city": SECRET, SECRET: "x"}


async def test_a_registration_without_personal_fields_needs_no_key(write_side: Any) -> None:
    """The keys may be away; what does not need them goes on."""
    user_id = await registered(write_side, name=None, attributes={})
    assert await Keys(write_side.settings).of(Person(write_side.settings.tenant, user_id)) is None


async def test_the_limits_are_those_of_the_plain_text(write_side: Any) -> None:
    """200 characters fit, though they are many more when they are sealed."""
    await registered(write_side, name="Ä" * 200)
    too_long = {"user_id": uuid.uuid4().hex, "name": "x" * 201}
    assert (await write_side.call("POST", "/users", json=too_long)).status == 422


async def test_a_repetition_is_recognised_though_it_is_sealed_anew(write_side: Any) -> None:
    """Same key and same body: the first answer. Same key and another name: told. Also by another command API."""
    body = {"user_id": uuid.uuid4().hex, "name": SECRET}
    headers = {"idempotency-key": uuid.uuid4().hex}
    first = await write_side.call("POST", "/users", json=body, headers=headers)
    again = await write_side.call("POST", "/users", json=body, headers=headers)
    assert (first.status, again.status) == (200, 200)
    assert (again.body["position"], again.headers[REPLAYED]) == (first.body["position"], "true")
    other = await write_side.call("POST", "/users", json=body | {"name": "Eve"}, headers=headers)
    assert (other.status, other.code) == (422, "idempotency_key_reused")


async def test_the_fingerprint_of_a_body_is_no_way_to_guess_it(write_side: Any) -> None:
    """A hash without a key gives a name away to whoever tries a list of names."""
    body = {"name": SECRET, "attributes": {}}
    prints = set()
    for user_id in (await registered(write_side, **body), await registered(write_side, **body)):
        raws = [raw for raw in await all_records(write_side.settings, "profiles") if raw.key == user_id]
        prints |= {value for raw in raws for name, value in raw.headers if name == "fingerprint"}
    assert len(prints) == 2, "one for each person, though they said the same"


async def test_what_a_client_calls_sealed_is_a_text_like_any_other(write_side: Any) -> None:
    """Nobody has somebody else's ciphertext opened by claiming it as a name."""
    ben = await registered(write_side)
    stolen = as_fields((await of_user(write_side, ben))[-1])["name"]
    eve = await registered(write_side, name=stolen, attributes={"sealed": stolen})
    said = as_fields((await of_user(write_side, eve))[-1])
    person = Person(write_side.settings.tenant, eve)
    key = await Keys(write_side.settings).of(person)
    assert said["name"] != stolen
    assert opened(key, person, "name", said["name"]) == stolen
    assert opened(key, person, "attributes", said["attributes"]) == {"sealed": stolen}


async def test_a_scheduled_registration_is_sealed_from_the_moment_it_is_scheduled(write_side: Any) -> None:
    """A schedule is a log as well; what it carries is sent as it was sealed, and opens."""
    user_id = uuid.uuid4().hex
    data = {"user_id": user_id, "name": SECRET * 9, "attributes": {"city": SECRET}}
    body = {"due_at": (datetime.now(UTC) + timedelta(seconds=0.5)).isoformat(), "command_type": "RegisterUser"}
    answer = await write_side.call("POST", "/schedules", json=body | {"data": data})
    assert answer.status == 200, answer
    async with running(scheduler.work, write_side.settings, "scheduler"), asyncio.timeout(60):
        while not (said := await of_user(write_side, user_id))[1:]:
            await asyncio.sleep(0.2)
    person = Person(write_side.settings.tenant, user_id)
    key = await Keys(write_side.settings).of(person)
    assert opened(key, person, "name", as_fields(said[-1])["name"]) == SECRET * 9
    assert shows(await all_records(write_side.settings, "profiles", "schedules"), SECRET) == []


async def test_while_the_keys_are_away_nothing_personal_is_taken(write_side: Any) -> None:
    """503 before anything is written, and the reason; other commands go on."""
    folder = write_side.settings.key_folder
    user_id, aside = uuid.uuid4().hex, folder.with_name(f"away-{uuid.uuid4().hex}")
    folder.rename(aside)
    try:
        answer = await write_side.call("POST", "/users", json={"user_id": user_id, "name": SECRET})
        assert (answer.status, answer.code) == (503, "keys_away")
        assert "mount it" in answer.body["detail"]
        assert (await write_side.call("POST", "/users", json={"user_id": uuid.uuid4().hex})).status == 200
    finally:
        aside.rename(folder)
    assert await of_user(write_side, user_id) == []
    assert (await write_side.call("POST", "/users", json={"user_id": user_id, "name": SECRET})).status == 200


@pytest.fixture
async def elsewhere(write_side: Any) -> AsyncIterator[Settings]:
    """The settings of the write side, with read models of their own."""
    shared: Settings = write_side.settings
    schema = f"{shared.postgres.db_schema}_erasure"
    yield shared.model_copy(update={"postgres": shared.postgres.model_copy(update={"db_schema": schema})})
    async with await connect(shared, "test") as connection:
        await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'.encode())


async def forgotten_by_read_models(settings: Settings, partitions: int) -> None:
    """A read model that has come to the end of everything."""
    async with await connect(settings, "test") as connection:
        await checkpoint.prepare(connection, settings.postgres.db_schema)
        await checkpoint.ensure(connection, "user_profile", 1, "profiles", range(partitions))
        await connection.execute("UPDATE projection_offsets SET next_offset = 1000000")
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS projection_erasures (store text, user_id text, removed bigint)"
        )


async def test_an_erasure_destroys_the_key_and_says_when_it_is_complete(write_side: Any, elsewhere: Settings) -> None:
    """From the request to the report; the text is gone for whoever holds every byte of the log."""
    settings = elsewhere
    item = await write_side.known_item()
    user_id = await registered(write_side)
    person = Person(settings.tenant, user_id)
    answer = await write_side.call("POST", f"/users/{user_id}/erase", json={"reason": "request 7"})
    assert (answer.status, answer.body["events"]) == (200, ["UserErased"])
    again = await write_side.call("POST", f"/users/{user_id}/erase", json={"reason": "request 7"})
    assert (again.status, again.body["events"]) == (200, [])
    for method, path, body in (
        ("POST", "/users", {"user_id": user_id, "name": SECRET}),
        ("POST", "/users", {"user_id": user_id}),
        ("PUT", f"/users/{user_id}/preferences", {}),
        ("POST", "/interactions", {"user_id": user_id, "item_id": item, "kind": "view", "occurred_at": 1}),
    ):
        refused = await write_side.call(method, path, json=body, headers={"if-match": "*"})
        assert (refused.status, refused.code) == (410, "erased_user"), (path, refused)
    async with running(eraser.work, settings, "eraser") as health:

        async def waits() -> bool:
            return "wait for the read models" in str(health.components.get("erasures"))

        async def destroyed() -> bool:
            return await Keys(settings).of(person) is None

        await eventually(destroyed, within_s=60)
        await eventually(waits, within_s=60)
        await forgotten_by_read_models(settings, settings.kafka.partitions)
        report = await reported(write_side, user_id)
    assert (report.position, report.keys) == (answer.body["position"], 1)
    sealed = next(one for one in await of_user(write_side, user_id) if isinstance(one, UserRegistered))
    assert opened(await Keys(settings).of(person), person, "name", sealed.name) is None


async def test_bulk_lines_about_an_erased_user_are_refused_one_by_one(write_side: Any) -> None:
    """An import of old data does not bring somebody back, and does not stop either."""
    item = await write_side.known_item()
    gone, there = uuid.uuid4().hex, uuid.uuid4().hex
    assert (await write_side.call("POST", f"/users/{gone}/erase", json={"reason": "r"})).status == 200
    lines = "".join(
        f'{{"user_id":"{who}","item_id":"{item}","kind":"view","occurred_at":1}}\n' for who in (gone, there)
    )
    answer = await write_side.call(
        "POST", "/interactions/bulk", data=lines.encode(), headers={"content-type": "application/x-ndjson"}
    )
    assert (answer.body["accepted"], answer.body["refused"]) == (1, 1)
    assert answer.body["problems"][0]["code"] == "erased_user"


async def test_who_was_erased_is_known_after_a_restart(write_side: Any) -> None:
    """The tail reads only the end of the log; the graves tell the rest."""
    person = Person(write_side.settings.tenant, uuid.uuid4().hex)
    await Keys(write_side.settings).destroy(person)
    engine = Engine(write_side.settings, Health("commands"))
    task = asyncio.create_task(engine.run())
    try:
        async with asyncio.timeout(60):
            while engine._parts is None:
                await asyncio.sleep(0.05)
        assert engine.parts.facts._people.is_erased(*person)
    finally:
        await ended(task)


async def test_an_eraser_that_was_killed_goes_on(
    write_side: Any, elsewhere: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the key, before the report: whenever it ends, the next one ends it, and the report tells the same."""
    settings = elsewhere
    await forgotten_by_read_models(settings, settings.kafka.partitions)
    people = [await registered(write_side) for _ in range(3)]
    for user_id in people:
        assert (await write_side.call("POST", f"/users/{user_id}/erase", json={"reason": "r"})).status == 200
    destroyed: list[Person] = []
    destroy, report = Keys.destroy, eraser.Eraser._report_one

    async def dies_after_the_key(self: Keys, person: Person) -> int:
        await destroy(self, person)
        destroyed.append(person)
        raise RuntimeError("killed")

    async def dies_before_the_report(self: eraser.Eraser, erasure: Erasure) -> None:
        raise RuntimeError("killed")

    for target, name, fault in (
        (Keys, "destroy", dies_after_the_key),
        (eraser.Eraser, "_report_one", dies_before_the_report),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(target, name, fault)
            with pytest.raises(ExceptionGroup, match="unhandled errors"):
                await asyncio.wait_for(eraser.work(settings, Health("eraser")), 60)
    assert destroyed
    monkeypatch.setattr(eraser.Eraser, "_report_one", report)
    async with running(eraser.work, settings, "eraser"):
        for user_id in people:
            assert (await reported(write_side, user_id)).keys == 1
