"""Exact reads: the log itself answers, as of a position or a time, whatever the read models have folded."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from infra.kafka.connect import aiokafka_options
from infra.kafka.records import Decoder
from infra.kafka.topics import create_topics
from infra.settings import Settings
from schemas.deployments import DeploymentPromoted, DeploymentRequested, DeploymentRolledBack
from schemas.models import ModelRegistered
from schemas.position import Position
from schemas.profiles import ConsentWithdrawn, PreferencesChanged, UserErased, UserRegistered

from ..eventually import eventually
from .conftest import Get
from .running import StartProjector
from .telling import Decided, key_in, ready

APART_S = 0.02
"""Between two events, so that a time lies between their stamps."""


@pytest.fixture
async def log(settings: Settings, decoder: Decoder) -> AsyncIterator[Decided]:
    """Writes decided events; no projector runs, so there are no read models."""
    await create_topics(settings)
    async with AIOKafkaProducer(**aiokafka_options(settings.kafka)) as producer:
        yield Decided(settings, decoder, producer)


async def said(log: Decided, *events: Any) -> list[tuple[Position, str]]:
    """Append the events one after another; where each stands, and a time before the next."""
    found = []
    for event in events:
        position = await log.append(event)
        await asyncio.sleep(APART_S)
        found.append((position, datetime.now(UTC).isoformat().replace("+00:00", "Z")))
        await asyncio.sleep(APART_S)
    return found


HISTORY = (
    UserRegistered(user_id="ana", name="Ana"),
    PreferencesChanged(user_id="ana", favourite_categories=("scifi",), language="pt"),
    ConsentWithdrawn(user_id="ana", purpose="training"),
)
AFTER: tuple[dict[str, Any], ...] = (
    {"version": 1, "name": "Ana", "language": None, "training": True},
    {"version": 2, "favourite_categories": ["scifi"], "language": "pt", "training": True},
    {"version": 3, "favourite_categories": ["scifi"], "training": False},
)


async def test_a_profile_is_as_it_was_then(log: Decided, get: Get) -> None:
    """An auditor asks what was known of a person when a decision fell; without read models, the log answers."""
    events = await said(log, *HISTORY)
    for (position, time), expected in zip(events, AFTER, strict=True):
        for moment in (str(position), time):
            status, profile, headers = await get("/users/ana", **{"as-of": moment})
            assert status == 200, (moment, profile)
            assert {name: profile[name] for name in expected} == expected, moment
            assert headers["x-position"] == str(position), "it speaks for this position and no other"
    _, now, headers = await get("/users/ana", exact="true")
    assert (now["version"], headers["x-position"]) == (3, str(events[-1][0]))


async def test_what_the_log_says_is_what_the_read_models_say(log: Decided, get: Get, projector: StartProjector) -> None:
    """There is one fold: the live answer and the exact one are the same bytes, and so have the same ETag."""
    events = await said(log, *HISTORY)
    running = projector()
    await eventually(lambda: ready(running))
    _, live, live_headers = await get("/users/ana", **{"min-position": str(events[-1][0]), "wait": 30})
    _, exact, exact_headers = await get("/users/ana", exact="true")
    assert (exact, exact_headers["etag"]) == (live, live_headers["etag"])


def registered(version: int) -> ModelRegistered:
    return ModelRegistered(
        model="movies",
        version=version,
        run_id=f"r{version}",
        algorithm="ease",
        artifact_sha256=f"a{version}",
        dataset_sha256="d",
        metrics={"recall": 0.4},
    )


def requested(version: int) -> DeploymentRequested:
    return DeploymentRequested(
        model="movies", deployment_id=f"d{version}", version=version, artifact_sha256=f"a{version}", requested_by="ana"
    )


def promoted(version: int) -> DeploymentPromoted:
    return DeploymentPromoted(
        model="movies", deployment_id=f"d{version}", version=version, artifact_sha256=f"a{version}"
    )


def rolled_back(version: int, to: int) -> DeploymentRolledBack:
    return DeploymentRolledBack(
        model="movies", deployment_id=f"d{version}", version=version, serving=to, reason="worse"
    )


async def test_which_version_was_in_production_then(log: Decided, get: Get) -> None:
    """Two topics at one moment: which versions there were, and which of them served."""
    steps = (registered(1), requested(1), promoted(1), registered(2), requested(2), promoted(2), rolled_back(2, 1))
    served = (None, None, 1, 1, 1, 2, 1)
    latest = (1, 1, 1, 2, 2, 2, 2)
    events = await said(log, *steps)
    for (position, time), live, newest in zip(events, served, latest, strict=True):
        for moment in (str(position), time):
            _, (summary,), headers = await get("/models", **{"as-of": moment})
            assert (summary["latest"], summary["live"]) == (newest, live), moment
            assert str(position) in headers["x-position"].split(",")
            _, model, _ = await get("/models/movies", **{"as-of": moment})
            assert [one["version"] for one in model["versions"]] == list(range(newest, 0, -1))
            assert (model["live"] or {}).get("version") == live
    _, deployment, _ = await get("/deployments/d2", **{"as-of": events[4][1]})
    assert (deployment["step"], deployment["reason"]) == ("requested", None)
    assert (await get("/deployments/d2", **{"as-of": events[3][1]}))[0] == 404
    _, deployments, _ = await get("/models/movies/deployments", **{"as-of": str(events[5][0])})
    assert [(one["deployment_id"], one["step"]) for one in deployments] == [("d2", "promoted"), ("d1", "promoted")]


async def test_an_erased_person_is_erased_in_every_past(log: Decided, get: Get) -> None:
    """An audit must not be the way around an erasure: what was known before is not told either."""
    events = await said(log, *HISTORY, UserErased(user_id="ana", reason="asked for"))
    for position, time in events:
        for moment in (str(position), time):
            status, problem, _ = await get("/users/ana", **{"as-of": moment})
            assert (status, problem["code"]) == (410, "erased_user")
    assert (await get("/users/ana", exact="true"))[0] == 410


async def test_before_anything_was_said_there_was_nothing(log: Decided, get: Get) -> None:
    """A time before the log began is answered, not refused: nothing was known."""
    before = (datetime.now(UTC) - timedelta(days=1)).isoformat().replace("+00:00", "Z")
    await said(log, *HISTORY, registered(1))
    assert (await get("/users/ana", **{"as-of": before}))[0] == 404
    assert (await get("/models", **{"as-of": before}))[:2] == (200, [])


async def test_a_moment_that_makes_no_sense_is_a_problem(log: Decided, get: Get, settings: Settings) -> None:
    """Each says what is wrong with it; none is answered with something else."""
    (last, _), *_ = reversed(await said(log, *HISTORY))
    other = replace(last, partition=(last.partition + 1) % settings.kafka.partitions)
    await log.append(UserRegistered(user_id=key_in(other.partition, settings)))
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"as-of": str(replace(last, offset=41))}, "position_past_end"),
        ({"as-of": "catalog/0/0"}, "position_of_another_topic"),
        ({"as-of": "nowhere/0/0"}, "unknown_topic"),
        ({"as-of": str(replace(other, offset=0))}, "position_of_another_partition"),
        ({"as-of": "profiles/77/0"}, "unknown_partition"),
        ({"as-of": f"{last},{replace(last, offset=0)}"}, "repeated_partition"),
        ({"as-of": tomorrow}, "as_of_in_future"),
        ({"as-of": "yesterday"}, "bad_moment"),
        ({"as-of": "2026-01-31T12:00:00"}, "bad_moment"),
        ({"as-of": ""}, "bad_moment"),
        ({"as-of": "profiles/0"}, "bad_position"),
        ({"as-of": str(last), "exact": "true"}, "two_moments"),
        ({"as-of": str(last), "min-position": str(last)}, "two_moments"),
        ({"exact": "true", "min-position": str(replace(last, offset=41))}, "position_past_end"),
        ({"exact": "perhaps"}, "invalid"),
    ]
    for params, code in refused:
        status, problem, _ = await get("/users/ana", **params)
        assert problem["code"] == code, (params, problem)
        assert status == (404 if code == "unknown_partition" else 422)
        assert len(problem["detail"]) > 10
    status, problem, _ = await get("/popular", **{"as-of": str(last)})
    assert (status, problem["code"]) == (422, "unknown_parameter")
