"""The command API over real HTTP, Kafka and a real processor: answers, and every bad input."""

import asyncio
import uuid
from functools import partial
from typing import Any

import psycopg
import pytest
from aiokafka import TopicPartition

from infra.kafka.consumer import make_consumer
from infra.kafka.facts import FactWriter
from infra.kafka.records import from_aiokafka
from infra.kafka.topics import physical
from schemas.envelope import Meta
from schemas.position import Position

from ..eventually import eventually
from .writing import Answer

JSON = {"content-type": "application/json"}
VIEW = {"kind": "view", "occurred_at": "2026-03-01T12:00:00Z"}


def new_id() -> str:
    return uuid.uuid4().hex


async def records(write_side: Any, topic: str) -> list[Any]:
    """Every record of a topic."""
    consumer = make_consumer(write_side.settings)
    async with consumer:
        every = [TopicPartition(physical(write_side.settings, topic), number) for number in range(2)]
        consumer.assign(every)
        ends = await consumer.end_offsets(every)
        await consumer.seek_to_beginning(*every)
        found: list[Any] = []
        while sum(ends.values()) > len(found):
            for got in (await consumer.getmany(timeout_ms=500)).values():
                found += [from_aiokafka(record, write_side.settings.topic_prefix) for record in got]
        return found


async def test_a_decision_is_answered_with_what_it_led_to(write_side: Any) -> None:
    """The answer has all that a client needs to go on: version, position, events."""
    user_id = new_id()
    answer = await write_side.call("POST", "/users", json={"user_id": user_id, "name": "Ana"})
    assert (answer.status, answer.headers["etag"]) == (200, '"1"')
    assert answer.body["events"] == ["UserRegistered"]
    assert answer.headers["x-position"] == answer.body["position"]
    topic, partition, offset = answer.body["position"].split("/")
    raw = next(r for r in await records(write_side, topic) if (r.partition, r.offset) == (int(partition), int(offset)))
    assert (raw.counts, raw.key) == (True, user_id)


async def test_who_asked_and_the_trace_are_on_record(write_side: Any) -> None:
    """An audit follows one request through the log."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"x-actor": "ben", "traceparent": trace, "x-correlation-id": "c-1"}
    answer = await write_side.call("POST", "/users", json={"user_id": new_id()}, headers=headers)
    raw = next(r for r in await records(write_side, "profiles") if str(r.position) == answer.body["position"])
    meta = Meta.of(raw.headers)
    assert (meta.actor, meta.traceparent, meta.correlation_id) == ("ben", trace, "c-1")
    assert meta.causation_id == answer.body["command_id"]


async def test_a_refusal_is_a_problem_and_on_record(write_side: Any) -> None:
    """Every answer can be looked up later, also a no."""
    user_id = new_id()
    await write_side.call("POST", "/users", json={"user_id": user_id})
    answer = await write_side.call("POST", "/users", json={"user_id": user_id})
    assert (answer.status, answer.code) == (409, "already_registered")
    status = await write_side.call("GET", f"/commands/{answer.body['command_id']}")
    assert (status.body["outcome"], status.body["code"]) == ("rejected", "already_registered")


async def test_a_stale_version_conflicts_and_changes_nothing(write_side: Any) -> None:
    """Two editors: the second one is told, and told the version."""
    path = f"/users/{(user := new_id())}/preferences"
    await write_side.call("POST", "/users", json={"user_id": user})
    first = await write_side.call("PUT", path, json={"language": "de"}, headers={"if-match": '"1"'})
    second = await write_side.call("PUT", path, json={"language": "fr"}, headers={"if-match": '"1"'})
    assert (first.status, first.headers["etag"]) == (200, '"2"')
    assert (second.status, second.code, second.headers["etag"]) == (412, "version_conflict", '"2"')
    assert "version 2" in second.body["detail"]


async def test_a_condition_on_existence_is_judged_where_it_is_decided(write_side: Any) -> None:
    """If-None-Match: * never overwrites, If-Match: * never creates."""
    path = f"/users/{(user := new_id())}/preferences"
    missing = await write_side.call("PUT", path, json={"language": "de"}, headers={"if-match": "*"})
    assert (missing.status, missing.code) == (412, "version_conflict")
    created = await write_side.call("POST", "/users", json={"user_id": user}, headers={"if-none-match": "*"})
    again = await write_side.call("POST", "/users", json={"user_id": user}, headers={"if-none-match": "*"})
    assert (created.status, again.status, again.code) == (200, 412, "version_conflict")
    changed = await write_side.call("PUT", path, json={"language": "de"}, headers={"if-match": "*"})
    assert (changed.status, changed.headers["etag"]) == (200, '"2"')


async def test_a_key_sent_again_is_answered_the_same_and_counts_once(write_side: Any) -> None:
    """Clients retry; a retry may not register twice, nor be told no."""
    headers, body = {"idempotency-key": new_id()}, {"user_id": new_id()}
    answers = [await write_side.call("POST", "/users", json=body, headers=headers) for _ in range(3)]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body["position"] for answer in answers}) == 1
    assert answers[-1].headers["idempotent-replayed"] == "true"
    registered = [r for r in await records(write_side, "profiles") if r.key == body["user_id"] and r.counts]
    assert sum(Meta.of(r.headers).type.endswith("UserRegistered") for r in registered) == 1


async def test_a_key_that_is_being_worked_on_is_not_taken_twice(write_side: Any) -> None:
    """The draft's 409: the second of two requests at the same time is told to wait, and learns the answer then."""
    headers, body = {"idempotency-key": new_id()}, {"user_id": new_id()}
    answers = await asyncio.gather(*(write_side.call("POST", "/users", json=body, headers=headers) for _ in range(5)))
    assert sorted(answer.status for answer in answers)[0] == 200
    busy = [answer for answer in answers if answer.status != 200]
    assert busy
    assert {(answer.status, answer.code) for answer in busy} == {(409, "request_in_progress")}
    status = await write_side.call("GET", busy[0].body["status_url"], headers={"prefer": "wait=5"})
    again = await write_side.call("POST", "/users", json=body, headers=headers)
    assert (status.body["outcome"], again.status, again.body["position"]) == ("accepted", 200, status.body["position"])


async def test_a_fact_with_a_key_is_recorded_once(write_side: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer again for the same body, 422 for another, 409 while the first is under way."""
    headers, fact = (
        {"idempotency-key": new_id()},
        VIEW | {"user_id": new_id(), "item_id": await write_side.known_item()},
    )
    first = await write_side.call("POST", "/interactions", json=fact, headers=headers)
    again = await write_side.call("POST", "/interactions", json=fact, headers=headers)
    other = await write_side.call("POST", "/interactions", json=fact | {"kind": "like"}, headers=headers)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    headers, gate, append = {"idempotency-key": new_id()}, asyncio.Event(), FactWriter.append

    async def held(writer: FactWriter, record: Any, meta: Meta) -> Position:
        await gate.wait()
        return await append(writer, record, meta)

    monkeypatch.setattr(FactWriter, "append", held)
    call = partial(write_side.call, "POST", "/interactions", json=fact, headers=headers)
    both = [asyncio.create_task(call()) for _ in range(2)]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    gate.set()
    assert sorted([(await answer).status for answer in both]) == [201, 409]


async def test_a_status_can_be_waited_for(write_side: Any) -> None:
    """`Prefer: wait` spares a client the polling; `respond-async, wait` answers at once when it is quick."""
    headers = {"prefer": "respond-async"}
    sent = await write_side.call("POST", "/users", json={"user_id": new_id()}, headers=headers)
    status = await write_side.call("GET", sent.headers["location"], headers={"prefer": "wait=60"})
    assert (sent.status, status.body["outcome"]) == (202, "accepted")
    headers = {"prefer": "respond-async, wait=60"}
    quick = await write_side.call("POST", "/users", json={"user_id": new_id()}, headers=headers)
    assert quick.status == 200


async def test_what_may_only_be_done_on_a_condition_asks_for_it(write_side: Any) -> None:
    """A retired item does not come back: who retires one should have looked at it."""
    item_id = await write_side.known_item()
    blind = await write_side.call("DELETE", f"/items/{item_id}")
    assert (blind.status, blind.code) == (428, "precondition_required")
    looked = await write_side.call("DELETE", f"/items/{item_id}", headers={"if-match": '"1"'})
    assert (looked.status, looked.body["events"]) == (200, ["ItemRetired"])


async def test_a_key_used_for_another_body_is_refused(write_side: Any) -> None:
    """Else a bug of the client would be answered with somebody else's success."""
    headers, user_id = {"idempotency-key": new_id()}, new_id()
    await write_side.call("POST", "/users", json={"user_id": user_id}, headers=headers)
    other = await write_side.call("POST", "/users", json={"user_id": user_id, "name": "Eve"}, headers=headers)
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    elsewhere = await write_side.call("POST", "/users", json={"user_id": new_id()}, headers=headers)
    assert (elsewhere.status, elsewhere.code) == (422, "idempotency_key_reused")


async def test_an_answer_can_be_fetched_later(write_side: Any) -> None:
    """Whoever does not want to wait gets an address."""
    answer = await write_side.call("POST", "/users", json={"user_id": new_id()}, headers={"prefer": "respond-async"})
    assert answer.status == 202

    async def decided() -> Answer | None:
        status: Answer = await write_side.call("GET", answer.headers["location"])
        return None if status.body["outcome"] == "pending" else status

    status = await eventually(decided)
    assert (status.body["outcome"], status.body["events"]) == ("accepted", ["UserRegistered"])


async def test_an_unknown_command_has_no_status(write_side: Any) -> None:
    """Pending for ever would be a lie."""
    answer = await write_side.call("GET", f"/commands/{uuid.uuid4()}")
    assert (answer.status, answer.code) == (404, "unknown_command")
    assert (await write_side.call("GET", "/commands/nonsense")).status == 422


async def test_an_old_command_is_found_in_the_published_log(write_side: Any) -> None:
    """The API forgets; the command log does not."""
    schema, command_id = write_side.settings.postgres.db_schema, uuid.uuid4()
    with psycopg.connect(write_side.settings.postgres.dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{schema}"'.encode())
        connection.execute(
            f"""CREATE TABLE "{schema}".command_log AS SELECT '{command_id}' AS command_id, 'profiles' AS topic,
            1 AS partition, 7::bigint AS "offset", 3::bigint AS command_offset, 'RegisterUser' AS type,
            'u' AS aggregate_id, 'default' AS tenant, 'rejected' AS outcome, 409 AS status,
            'already_registered' AS code, 'no' AS detail,
            1::bigint AS version, now() AS answered_at""".encode()
        )
        try:
            answer = await write_side.call("GET", f"/commands/{command_id}")
        finally:
            connection.execute(f'DROP SCHEMA "{schema}" CASCADE'.encode())
    assert (answer.status, answer.body["outcome"], answer.body["position"]) == (200, "rejected", "profiles/1/7")


async def test_workers_speak_through_one_door(write_side: Any) -> None:
    """Commands without a route of their own, and ids that the API fills."""
    model = f"m{new_id()[:8]}"
    asked = await write_side.call("POST", f"/models/{model}/training-runs", json={"algorithm": "ease"})
    run_id = asked.body["command_id"]
    started = {"model": model, "run_id": run_id, "ranges": [{"topic": "t", "partition": 0, "first": 0, "end": 5}]}
    answer = await write_side.call("POST", "/commands", json={"type": "StartTraining", "data": started})
    assert (answer.status, answer.body["events"]) == (200, ["TrainingStarted"])
    done = {
        "model": model,
        "run_id": run_id,
        "dataset_sha256": "d",
        "dataset_rows": 1,
        "duplicates": 0,
        "artifact_sha256": "a" * 64,
        "artifact_bytes": 1,
        "metrics": {"ndcg": 1},
        "duration_s": 0.5,
    }
    answer = await write_side.call("POST", "/commands", json={"type": "retrace.models.CompleteTraining", "data": done})
    assert answer.body["events"] == ["TrainingCompleted", "ModelRegistered"]
    assert (answer.body["version"], len(answer.body["positions"])) == (4, 2)
    retired = await write_side.call("DELETE", f"/models/{model}/versions/1")
    assert retired.body["events"] == ["ModelRetired"]


BAD = [
    ("POST", "/users", {"data": b'{"user_id": "u', "headers": JSON}, 400, "malformed_json"),
    ("POST", "/users", {"data": b"\xff\xfe", "headers": JSON}, 400, "malformed_json"),
    ("POST", "/users", {"json": ["u"]}, 422, "invalid"),
    ("POST", "/users", {"json": {}}, 422, "invalid"),
    ("POST", "/users", {"json": {"user_id": 7}}, 422, "invalid"),
    ("POST", "/users", {"json": {"user_id": ""}}, 422, "invalid"),
    ("POST", "/users", {"json": {"user_id": "a\0b"}}, 422, "invalid"),
    ("POST", "/users", {"json": {"user_id": "u", "nam": "Ana"}}, 422, "invalid"),
    ("POST", "/users", {"json": {"user_id": "u", "attributes": {"age": 7}}}, 422, "invalid"),
    ("POST", "/users", {"json": {"user_id": "u", "name": "x" * 30_000}}, 413, "body_too_large"),
    (
        "POST",
        "/users",
        {"data": b"user_id=u", "headers": {"content-type": "text/plain"}},
        415,
        "unsupported_media_type",
    ),
    ("POST", "/users", {"json": {"user_id": "u"}, "headers": {"if-match": "new"}}, 400, "bad_precondition"),
    (
        "POST",
        "/users",
        {"json": {"user_id": "u"}, "headers": {"idempotency-key": "x" * 300}},
        400,
        "bad_idempotency_key",
    ),
    ("PUT", "/users/u/consents/everything", {}, 422, "invalid"),
    ("PUT", "/users/u/preferences", {"json": {"user_id": "v"}}, 422, "invalid"),
    ("PUT", "/users/nobody/preferences", {"json": {}}, 404, "unknown_user"),
    ("DELETE", "/models/movies/versions/two", {}, 422, "invalid"),
    ("POST", "/commands", {"json": {"type": "RegistrUser", "data": {}}}, 422, "unknown_command_type"),
    ("POST", "/commands", {"json": {"type": "UserRegistered", "data": {}}}, 422, "unknown_command_type"),
    ("POST", "/commands", {"json": {"data": {}}}, 422, "bad_command"),
    ("POST", "/interactions", {"json": {"user_id": "u", "item_id": "nothing", **VIEW}}, 422, "unknown_item"),
    ("POST", "/interactions", {"json": {"user_id": "u", "item_id": "i", **VIEW, "kind": "saw"}}, 422, "invalid"),
    ("POST", "/interactions/bulk", {"data": b"{}", "headers": {"content-type": "a/b"}}, 415, "unsupported_media_type"),
    ("GET", "/nowhere", {}, 404, "no_such_route"),
    ("PATCH", "/users", {}, 405, "method_not_allowed"),
]


@pytest.mark.parametrize(("method", "path", "options", "status", "code"), BAD)
async def test_bad_input_is_a_problem_that_names_the_remedy(
    write_side: Any, method: str, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    """Nobody should have to guess what was wrong, and nothing may be written."""
    answer = await write_side.call(method, path, **options)
    assert (answer.status, answer.code) == (status, code)
    assert answer.body["detail"]


async def test_faults_point_at_their_fields_and_suggest_the_right_name(write_side: Any) -> None:
    """One round trip should be enough to repair a request."""
    body = {"usr_id": "u", "attributes": {"age": 7}, "name": 3}
    answer = await write_side.call("POST", "/users", json=body)
    faults = {error["pointer"]: error["detail"] for error in answer.body["errors"]}
    assert set(faults) == {"/usr_id", "/attributes/age", "/name", "/user_id"}
    assert "did you mean 'user_id'" in faults["/usr_id"]


async def test_a_fact_is_durable_when_it_is_answered(write_side: Any) -> None:
    """And an item that was added a moment ago is known."""
    item_id = await write_side.known_item()
    answer = await write_side.call("POST", "/interactions", json={"user_id": "u", "item_id": item_id, **VIEW})
    assert answer.status == 201
    assert answer.body["position"] in [str(raw.position) for raw in await records(write_side, "interactions")]


async def test_a_fact_without_a_time_zone_is_refused(write_side: Any) -> None:
    """A local time means another moment on another machine."""
    item_id = await write_side.known_item()
    body = {"user_id": "u", "item_id": item_id, "kind": "view", "occurred_at": "2026-03-01T12:00:00"}
    answer = await write_side.call("POST", "/interactions", json=body)
    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, "/occurred_at")


async def test_the_description_covers_every_route(write_side: Any) -> None:
    """Clients are generated from it."""
    document = (await write_side.call("GET", "/openapi.json")).body
    operation = document["paths"]["/users/{user_id}/preferences"]["put"]
    properties = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert set(properties) == {"favourite_categories", "hidden_categories", "language"}
    user_id = next(parameter for parameter in operation["parameters"] if parameter["name"] == "user_id")
    assert user_id["schema"]["maxLength"] == 128
