"""The how-to "Add an aggregate", followed word by word in a copy of the project."""

import asyncio
import contextlib
import json
import random
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from psycopg.rows import TupleRow

from infra.access.client import headers_of
from infra.settings import Settings, child_environment
from infra.stack.ports import is_free
from infra.stack.stack import merged

from .conftest import ROOT, Copied

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

HOW_TO = (ROOT / "docs" / "how-to" / "add-an-aggregate.md").read_text()
FILES = re.findall(r"^```\w+ (\S+)\n(.*?)^```$", HOW_TO, re.MULTILINE | re.DOTALL)
DIFFS = re.findall(r"^```diff\n(.*?)^```$", HOW_TO, re.MULTILINE | re.DOTALL)
CURL = re.compile(
    r"^curl (?:-X (\S+) )?\$COMMANDS(\S+) .*?(?:-d '(.*?)')?\n```\n```json\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
REPLAY = re.compile(r"^uv run retrace (replay [^\n]*)\n```\n```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REFUSAL = re.compile(r"^```\nretrace: (.*?)^```$", re.MULTILINE | re.DOTALL)
SAME_EACH_TIME = ("aggregate_id", "outcome", "status", "version", "events", "type", "key", "data", "topic")
WISHES = "schemas/avro/wishes.avsc"

Run = Callable[..., str]


@pytest.fixture
def project(copied: Copied) -> Path:
    """A copy of the project with the files of the how-to in it."""
    return copied(FILES)


@pytest.fixture
def run(project: Path, settings: Settings) -> Run:
    """Run Python there; answers what it says."""

    def python(*arguments: str, status: int = 0, by: Settings = settings) -> str:
        environment = child_environment(by) | {"PYTHONPATH": str(project), "COLUMNS": "400"}
        command = [sys.executable, *arguments]
        ended = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == status, ended.stdout + ended.stderr
        return ended.stdout + (ended.stderr if status else "")

    return python


def free_port() -> int:
    """One that nobody listens on now."""
    return next(number for number in random.sample(range(32_100, 32_700), 600) if is_free(number))


@contextlib.asynccontextmanager
async def serving(project: Path, settings: Settings, *roles: str) -> AsyncIterator[str]:
    """The services of the copy; yields the address of its command API."""
    port = free_port()
    environment = child_environment(settings) | {"PYTHONPATH": str(project), "RETRACE_COMMANDS__PORT": str(port)}
    environment |= {"RETRACE_ANSWER_TIMEOUT_S": "100", "RETRACE_ADMISSION__CONFIRM_S": "100"}  # nothing is sent twice
    services = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "console", "serve", role),
            cwd=project,
            env=environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        for role in roles
    ]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        for service in services:
            service.terminate()
        await asyncio.gather(*(service.wait() for service in services))


async def answered(method: str, url: str, body: Any, settings: Settings, *, while_: tuple[int, ...]) -> tuple[int, Any]:
    """What the API says, once it is up and says something else than `while_`."""
    async with asyncio.timeout(120), aiohttp.ClientSession(headers=headers_of(settings)) as http:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.request(method, url, json=body) as answer:
                    if answer.status not in while_:
                        return answer.status, await answer.json(content_type=None)
            await asyncio.sleep(0.3)


async def sent(url: str, told: re.Match[str], settings: Settings) -> None:
    """A request of the how-to is answered as it says."""
    method, path, body, expected = told.groups()
    given = json.loads(body) if body else None
    status, answer = await answered(method or "POST", url + path, given, settings, while_=(503, 504))
    assert (status, lasting(answer)) == (200, lasting(json.loads(expected)))


def lasting(told: dict[str, Any]) -> dict[str, Any]:
    """What is the same each time: ids and times are not."""
    return {name: told[name] for name in SAME_EACH_TIME if name in told}


def patched(project: Path, *differences: str) -> None:
    """Change the copy as the how-to says."""
    subprocess.run(["git", "apply"], cwd=project, input="".join(differences), text=True, check=True)


def checked(project: Path, run: Run) -> None:
    """The steps before services start: classes, types, style, examples."""
    run("-m", "schemas.generate")
    rules = [name for name, _ in FILES if name.startswith("commands/")]
    run("-m", "mypy", *rules, "schemas/wishes.py")
    run("-m", "ruff", "check", *rules)
    run("-m", "ruff", "format", "--check", *rules, "schemas/wishes.py")
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/commands/test_wishlist.py")


async def logged(settings: Settings, rows: int) -> list[TupleRow]:
    """The command log of the aggregate, once it has that many rows."""
    query = f"SELECT type, outcome, version FROM {settings.postgres.db_schema}.command_log WHERE topic = 'wishes'"
    async with asyncio.timeout(120):
        while True:
            with (
                contextlib.suppress(psycopg.errors.UndefinedTable),
                psycopg.connect(settings.postgres.dsn.get_secret_value()) as connection,
            ):
                found = connection.execute(f"{query} ORDER BY version, outcome".encode()).fetchall()
                if len(found) >= rows:
                    return found
            await asyncio.sleep(0.3)


async def test_the_how_to_leads_to_an_aggregate_and_to_one_more_command(
    project: Path, run: Run, settings: Settings
) -> None:
    """The promise: one .avsc and one Python file, and the command is there over HTTP, its event on the log."""
    assert [Path(name).suffix for name, _ in FILES if not name.startswith("tests/")] == [".avsc", ".py"]
    assert {line[6:] for part in DIFFS for line in part.splitlines() if line.startswith("+++ ")} == {
        name for name, _ in FILES if not name.startswith("tests/")
    }
    first, second = CURL.finditer(HOW_TO)
    checked(project, run)
    async with serving(project, settings, "projector", "processor", "commands") as url:
        await sent(url, first, settings)
        wrong = await answered("POST", url + first[2], {"item": "50"}, settings, while_=(503,))
        assert (wrong[0], wrong[1]["errors"][0]["pointer"]) == (422, "/item")
        assert len(await logged(settings, 1)) == 1
    (replay,) = REPLAY.finditer(HOW_TO)
    assert lasting(json.loads(run("-m", "console", *replay[1].split()))) == lasting(json.loads(replay[2]))

    patched(project, *DIFFS)
    checked(project, run)
    async with serving(project, settings, "projector", "processor", "commands") as url:
        await sent(url, second, settings)
        assert [row[2] for row in await logged(settings, 2)] == [1, 2]


def test_what_the_type_checker_is_said_to_find_it_finds(project: Path, run: Run) -> None:
    """A command that nobody decides is found before it is sent."""
    contracts, _rules = DIFFS
    patched(project, contracts)
    run("-m", "schemas.generate")
    run("-m", "ruff", "check", "schemas/wishes.py")
    said = run("-m", "mypy", "commands/aggregates/wishlist.py", status=1)
    assert "DropWish" in said
    assert "WishDropped" in said


@pytest.mark.parametrize("step", [("-m", "schemas.generate"), ("-m", "console", "serve", "processor")])
def test_a_misspelt_topic_goes_no_further(project: Path, run: Run, step: tuple[str, ...]) -> None:
    """Its events would stand where nobody reads."""
    contracts = (project / WISHES).read_text()
    event = contracts.index('"WishMade"')
    (project / WISHES).write_text(contracts[:event] + contracts[event:].replace('"wishes"', '"wishs"', 1))
    assert "retrace.wishes.WishMade stands on 'wishs', which takes no command" in run(*step, status=1)


async def test_a_change_that_readers_could_not_read_is_refused_at_start(
    project: Path, run: Run, settings: Settings
) -> None:
    """A field without a default would leave every record on the log unreadable; all who are asked say which."""
    run("-m", "schemas.generate")
    own = {"registry": {"url": f"http://127.0.0.1:{free_port()}"}}  # that of the run may be of older code
    mine = Settings(**merged(settings.model_dump(exclude_unset=True), own))
    async with serving(project, mine, "registry"):
        assert (await answered("GET", f"{mine.registry.url}/subjects", None, mine, while_=(503,)))[0] == 200
        run("-m", "console", "schemas", "register", by=mine)
        changed = json.loads((project / WISHES).read_text())
        changed[1]["fields"].append({"name": "colour", "type": "string", "doc": "Which one."})
        (project / WISHES).write_text(json.dumps(changed))
        run("-m", "schemas.generate")
        (told,) = REFUSAL.findall(HOW_TO)
        wanted = " ".join(told.split()).replace("what wishes-", f"what {mine.topic_prefix}wishes-")
        assert wanted in run("-m", "console", "serve", "processor", status=1, by=mine)
        assert wanted.partition(" holds: ")[2] in run("-m", "console", "schemas", "check", status=1, by=mine)
        async with serving(project, mine, "commands") as url:
            assert await is_told(f"{url}/health/ready", wanted, mine)
            refused = await answered("POST", f"{url}/users/ana/wishes", {"item_id": "50"}, mine, while_=())
    assert refused[0] == 503
    assert wanted in refused[1]["detail"]


async def is_told(url: str, wanted: str, settings: Settings) -> bool:
    """Whether the service says that it is not ready, and why, within two minutes."""
    async with asyncio.timeout(120):
        while True:
            status, health = await answered("GET", url, None, settings, while_=())
            if wanted in json.dumps(health):
                return status == 503 and not health["ready"]
            await asyncio.sleep(0.2)
