"""The query API's description: complete, with examples that hold, and what schemathesis finds that it promises."""

import asyncio
import os
import sys
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, TypeAdapter

from infra.settings import Settings
from projections import (
    answers,
    answers_dead_letters,
    answers_deployments,
    answers_lineage,
    answers_runs,
    answers_search,
)
from projections.examples import EXAMPLES
from schemas.position import Position

from .conftest import Get
from .test_query_api import told

pytestmark = pytest.mark.long

__all__ = ["told"]

CONFIG = """
seed = 20
request-timeout = 120
[generation]
max-examples = 10
[checks]
# what was asked for can be right and still not be there, or speak of a position or a cursor that the log never gave
positive_data_acceptance.expected-statuses = [200, 304, 404, 410, 422, 504]
negative_data_rejection.expected-statuses = [401, 404, 405, 422]
missing_required_header.expected-statuses = [401, 422]
[auth.openapi.key]
bearer = "${ADMIN_KEY}"
[phases.stateful]
enabled = false
"""

MODELS = {
    name: model
    for module in (answers, answers_search, answers_dead_letters, answers_deployments, answers_runs, answers_lineage)
    for name, model in vars(module).items()
    if isinstance(model, type) and issubclass(model, BaseModel)
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_the_operation_answers(name: str) -> None:
    """An example that does not fit teaches the wrong thing."""
    assert not get_args(MODELS[name])
    TypeAdapter(MODELS[name]).validate_python(EXAMPLES[name])
    assert set(EXAMPLES[name]) == set(MODELS[name].model_fields)


async def test_every_operation_says_what_it_takes_and_answers(get: Get) -> None:
    """Clients are generated from the description: roles, problems, headers and an example of each answer."""
    _, document, _ = await get("/openapi.json")
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            if not operation["x-roles"]:
                continue
            answered = operation["responses"]["200"]
            assert answered["headers"]["x-position"]["description"], path
            assert answered["content"]["application/json"].get("example") is not None, path
            for status in ("401", "403", "422", "503"):
                problem = operation["responses"][status]["content"]["application/problem+json"]
                assert problem["example"]["status"] == int(status), path


@pytest.mark.timeout(900)
async def test_nothing_contradicts_the_description(
    told: list[Position], get: Get, query_url: str, settings: Settings, tmp_path: Path
) -> None:
    """Whatever schemathesis sends, the answer is one that is described."""
    _, document, _ = await get("/openapi.json")
    assert settings.access.key is not None
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{query_url}/openapi.json", "--checks", "all"),
        cwd=tmp_path,
        env={**os.environ, "ADMIN_KEY": settings.access.key.get_secret_value()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-60_000:]
    assert f"Tested: {sum(len(methods) for methods in document['paths'].values())}" in said.decode()
