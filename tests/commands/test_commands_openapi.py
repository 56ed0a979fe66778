"""Schemathesis on every operation of the command API: what its description promises is what it does."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

FRESH_KEYS = """
import re, uuid, schemathesis
from commands.api.headers import KEY

@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    return str(value).encode()

@schemathesis.hook
def before_call(context, case, kwargs):
    # a key that is sent again for another body is refused, and should be
    if case.headers and re.fullmatch(KEY, str(case.headers.get("Idempotency-Key"))):
        case.headers["Idempotency-Key"] = f'"{uuid.uuid4()}"'
"""
CONFIG = """
hooks = "fresh_keys"
seed = 20
request-timeout = 120
[generation]
max-examples = 15
[checks]
# what was asked for can be right and still be refused: on another version, about something that is not there
positive_data_acceptance.expected-statuses = [200, 201, 202, 401, 404, 409, 410, 412, 413]
negative_data_rejection.expected-statuses = [400, 401, 404, 405, 409, 410, 413, 415, 422, 428]
missing_required_header.expected-statuses = [400, 401, 422, 428]
[auth.openapi.key]
bearer = "${ADMIN_KEY}"
[phases.stateful]
enabled = false
[[operations]]
include-path-regex = "^/interactions" # lines are judged one by one
checks.negative_data_rejection.expected-statuses = [200, 400, 401, 404, 409, 410, 413, 415, 422]
checks.positive_data_acceptance.expected-statuses = [200, 201, 401, 404, 409, 410, 422]
[[operations]]
include-path-regex = "^/(schedules|commands)$" # what is carried in them has a description of its own
checks.positive_data_acceptance.expected-statuses = [200, 201, 202, 401, 404, 409, 410, 412, 413, 422]
[[operations]]
include-path-regex = "^/api-keys"
checks.positive_data_acceptance.expected-statuses = [200, 201, 202, 401, 404, 409, 412, 422] # a time may have passed
"""


@pytest.mark.timeout(900)
async def test_nothing_contradicts_the_description(write_side: Any, tmp_path: Path) -> None:
    """Clients are generated from the description; a wrong one breaks them all."""
    (tmp_path / "fresh_keys.py").write_text(FRESH_KEYS)
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    key = write_side.settings.access.key.get_secret_value()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{write_side.url}/openapi.json", "--checks", "all"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "ADMIN_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()[-60_000:]
    operations = sum(len(methods) for methods in (await write_side.call("GET", "/openapi.json")).body["paths"].values())
    assert f"Tested: {operations}" in told.decode()
