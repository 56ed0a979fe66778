import json
from typing import Any

import httpx2
import pytest

from infra.registry.request import CONTENT_TYPE
from infra.registry.server import registry_api
from schemas.errors import Unavailable
from schemas.registry import Registry

A1 = '{"type":"record","name":"A","fields":[]}'
A2 = '{"type":"record","name":"A","fields":[{"name":"x","type":"int","default":0}]}'
BREAKING = '{"type":"record","name":"A","fields":[{"name":"x","type":"string"}]}'


@pytest.fixture
def http(memory_log: Any) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(registry_api(memory_log), raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://registry", headers={"content-type": CONTENT_TYPE})


async def send(http: httpx2.AsyncClient, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    content = None if body is None else json.dumps(body)
    response = await http.request(method, path, content=content)
    assert response.headers["content-type"] == CONTENT_TYPE
    return response.status_code, response.json()


async def registered(http: httpx2.AsyncClient) -> None:
    """Subject a/b with two versions, `gone` with a deleted one."""
    for subject, text in (("a%2Fb", A1), ("a%2Fb", A2), ("gone", A1)):
        assert (await send(http, "POST", f"/subjects/{subject}/versions", {"schema": text}))[0] == 200
    assert await send(http, "DELETE", "/subjects/gone") == (200, [1])


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/", None, {}),
        ("GET", "/schemas/types", None, ["AVRO"]),
        ("GET", "/mode", None, {"mode": "READWRITE"}),
        ("GET", "/mode/a%2Fb", None, {"mode": "READWRITE"}),
        ("GET", "/subjects?offset=0&limit=-1&deleted=False&deleted_only=False", None, ["a/b"]),
        ("GET", "/subjects?deleted=true", None, ["a/b", "gone"]),
        ("GET", "/subjects?deleted_only=true", None, ["gone"]),
        ("GET", "/subjects?deleted=true&offset=1&limit=5", None, ["gone"]),
        ("GET", "/subjects?subjectPrefix=b", None, []),
        ("GET", "/subjects/a%2Fb/versions", None, [1, 2]),
        ("GET", "/subjects/a%2Fb/versions/latest/schema", None, json.loads(A2)),
        ("GET", "/subjects/a%2Fb/versions/1", None, {"subject": "a/b", "version": 1, "id": 1, "schema": A1}),
        ("GET", "/subjects/a%2Fb/versions/-1", None, {"subject": "a/b", "version": 2, "id": 2, "schema": A2}),
        ("GET", "/subjects/a%2Fb/versions/1/referencedby", None, []),
        (
            "GET",
            "/subjects/gone/versions/1?deleted=true",
            None,
            {"subject": "gone", "version": 1, "id": 1, "schema": A1},
        ),
        ("GET", "/subjects/gone/versions?deleted_only=true", None, [1]),
        ("POST", "/subjects/a%2Fb?normalize=True&deleted=False", {"schema": A1}, {"version": 1, "id": 1}),
        ("POST", "/subjects/a%2Fb/versions?normalize=false", {"schema": A1, "schemaType": "AVRO"}, {"id": 1}),
        ("GET", "/schemas/ids/1?fetchMaxId=true&subject=a%2Fb", None, {"schema": A1, "maxId": 2}),
        ("GET", "/schemas/ids/2/schema", None, json.loads(A2)),
        ("GET", "/schemas/ids/1/subjects", None, ["a/b"]),
        ("GET", "/schemas/ids/1/versions?deleted=true&subject=gone", None, [{"subject": "gone", "version": 1}]),
        ("POST", "/compatibility/subjects/a%2Fb/versions/latest", {"schema": A1}, {"is_compatible": True}),
        ("POST", "/compatibility/subjects/new/versions/latest", {"schema": A1}, {"is_compatible": True}),
        ("POST", "/compatibility/subjects/a%2Fb/versions", {"schema": BREAKING}, {"is_compatible": False}),
        ("GET", "/config", None, {"compatibilityLevel": "FULL_TRANSITIVE"}),
        ("GET", "/config/a%2Fb?defaultToGlobal=true", None, {"compatibilityLevel": "FULL_TRANSITIVE"}),
        ("PUT", "/config", {"compatibility": "backward"}, {"compatibility": "BACKWARD"}),
        ("DELETE", "/config", None, {"compatibilityLevel": "FULL_TRANSITIVE"}),
        ("DELETE", "/subjects/a%2Fb", None, [1, 2]),
        ("DELETE", "/subjects/gone?permanent=true", None, [1]),
        ("DELETE", "/subjects/a%2Fb/versions/latest", None, 2),
    ],
)
async def test_answers(http: httpx2.AsyncClient, method: str, path: str, body: Any, expected: Any) -> None:
    """What Confluent's clients send is understood, and answered as they expect it."""
    await registered(http)
    status, answer = await send(http, method, path, body)
    assert status == 200
    if isinstance(expected, dict) and isinstance(answer, dict):
        answer = {key: answer[key] for key in expected}
    assert answer == expected


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/subjects/none/versions", None, 404, 40401),
        ("GET", "/subjects/gone/versions/1", None, 404, 40401),
        ("GET", "/subjects/a%2Fb/versions/3", None, 404, 40402),
        ("GET", "/subjects/a%2Fb/versions/three", None, 422, 42202),
        ("GET", "/subjects/a%2Fb/versions/0", None, 422, 42202),
        ("GET", "/schemas/ids/99", None, 404, 40403),
        ("GET", "/schemas/ids/99/versions", None, 404, 40403),
        ("POST", "/subjects/none", {"schema": A1}, 404, 40401),
        ("POST", "/subjects/a%2Fb", {"schema": BREAKING}, 404, 40403),
        ("POST", "/subjects/a%2Fb/versions", {"schema": BREAKING}, 409, 409),
        ("POST", "/subjects/a%2Fb/versions", {"schema": "{"}, 422, 42201),
        ("POST", "/subjects/a%2Fb/versions", {"schema": A1, "schemaType": "PROTOBUF"}, 422, 42201),
        ("POST", "/subjects/a%2Fb/versions", {"schema": A1, "references": [{"name": "x"}]}, 422, 42201),
        ("POST", "/subjects/a%2Fb/versions", {"schema": A1, "id": 9}, 422, 42205),
        ("POST", "/subjects/a%2Fb/versions", {}, 422, 422),
        ("POST", "/subjects/%07/versions", {"schema": A1}, 422, 42208),
        ("POST", "/compatibility/subjects/a%2Fb/versions/9", {"schema": A1}, 404, 40402),
        ("POST", "/compatibility/subjects/none/versions/1", {"schema": A1}, 404, 40401),
        ("POST", "/compatibility/subjects/a%2Fb/versions", {"schema": "{"}, 422, 42201),
        ("DELETE", "/subjects/none", None, 404, 40401),
        ("DELETE", "/subjects/gone", None, 404, 40404),
        ("DELETE", "/subjects/a%2Fb?permanent=true", None, 404, 40405),
        ("DELETE", "/subjects/gone/versions/1", None, 404, 40406),
        ("DELETE", "/subjects/a%2Fb/versions/1?permanent=true", None, 404, 40407),
        ("GET", "/config/a%2Fb", None, 404, 40408),
        ("DELETE", "/config/a%2Fb", None, 404, 40408),
        ("PUT", "/config", {"compatibility": "SOMEHOW"}, 422, 42203),
        ("PUT", "/config/a%2Fb", {}, 422, 42203),
        ("GET", "/nowhere", None, 404, 404),
        ("DELETE", "/subjects", None, 405, 405),
    ],
)
async def test_refusals(http: httpx2.AsyncClient, method: str, path: str, body: Any, status: int, code: int) -> None:
    """Clients act on the number; it is Confluent's, and a reader finds words beside it."""
    await registered(http)
    answered, problem = await send(http, method, path, body)
    assert (answered, problem["error_code"]) == (status, code)
    assert len(problem["message"]) > 5


async def test_the_reasons_of_a_refusal_name_the_field(http: httpx2.AsyncClient) -> None:
    """The text is what an author of schemas sees in the build."""
    await registered(http)
    path = "/compatibility/subjects/a%2Fb/versions?verbose=true"
    _, answer = await send(http, "POST", path, {"schema": BREAKING})
    fault = "the new schema cannot read version 1: field 'x' has no default and is not written; give it a default"
    assert answer["messages"][0] == fault
    _, problem = await send(http, "POST", "/subjects/a%2Fb/versions", {"schema": BREAKING})
    assert problem["message"].splitlines() == answer["messages"]


async def test_a_level_can_be_loosened_for_one_subject(http: httpx2.AsyncClient) -> None:
    """The way out of a refusal, on purpose and for as long as needed."""
    await registered(http)
    await send(http, "PUT", "/config/a%2Fb", {"compatibility": "NONE"})
    assert await send(http, "POST", "/subjects/a%2Fb/versions", {"schema": BREAKING}) == (200, {"id": 3})
    assert await send(http, "DELETE", "/config/a%2Fb") == (200, {"compatibilityLevel": "NONE"})
    assert (await send(http, "GET", "/config/a%2Fb"))[1]["error_code"] == 40408


class AwayLog:
    """A log whose brokers do not answer."""

    @property
    def registry(self) -> Registry:
        raise Unavailable("Kafka does not answer. Try again.")

    async def catch_up(self) -> Registry:
        return self.registry

    async def write(self, decide: Any) -> Registry:
        return self.registry


async def test_a_registry_without_kafka_says_so() -> None:
    """A client that sees 503 tries again; an empty list of subjects would be a lie."""
    transport = httpx2.ASGITransport(registry_api(AwayLog()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://registry") as http:
        for method, path in (("GET", "/subjects"), ("GET", "/schemas/ids/1"), ("DELETE", "/config")):
            status, problem = await send(http, method, path)
            assert (status, problem["error_code"]) == (503, 50001)
            assert "Kafka does not answer" in problem["message"]
