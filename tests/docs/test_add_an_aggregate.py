"""The how-to "Add an aggregate", followed word by word in a copy of the project."""

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from infra.access.client import headers_of
from infra.settings import Settings, child_environment
from infra.stack.ports import is_free

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to" / "add-an-aggregate.md"
FILE = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CURL = re.compile(r"curl \$COMMANDS(\S+) .*-d '(.*?)'\n```\n```json\n(.*?)```", re.DOTALL)
PARTS = ("commands", "console", "inference", "infra", "projections", "schemas", "streams", "pyproject.toml")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A copy of the project with the files of the how-to in it."""
    copy = tmp_path / "project"
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, copy / part)
    for name, content in FILE.findall(HOW_TO.read_text()):
        path = copy / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    yield copy
    shutil.rmtree(copy)


@pytest.fixture
def run(project: Path, settings: Settings) -> Run:
    """Run Python there."""

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = child_environment(settings) | {"PYTHONPATH": str(project)}
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)

    return python


@contextlib.asynccontextmanager
async def serving(project: Path, settings: Settings, *roles: str) -> AsyncIterator[str]:
    """The services of the copy; yields the address of its command API."""
    port = next(number for number in range(32_100, 32_900) if is_free(number))
    environment = child_environment(settings) | {"PYTHONPATH": str(project), "RETRACE_COMMANDS__PORT": str(port)}
    services = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "console", "serve", role),
            cwd=project,
            env=environment,
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


async def answered(url: str, body: Any, settings: Settings) -> tuple[int, Any]:
    """What the API says, once it is up."""
    async with asyncio.timeout(60), aiohttp.ClientSession(headers=headers_of(settings)) as http:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.post(url, json=body) as answer:
                    if answer.status not in (503, 504):
                        return answer.status, await answer.json(content_type=None)
            await asyncio.sleep(0.3)


async def test_one_avsc_and_one_python_file_make_an_aggregate(project: Path, run: Run, settings: Settings) -> None:
    """The promise of the how-to: contracts and rules, and the command is there over HTTP."""
    files = [name for name, _ in FILE.findall(HOW_TO.read_text())]
    assert [Path(name).suffix for name in files if not name.startswith("tests/")] == [".avsc", ".py"]
    generated = run("-m", "schemas.generate")
    assert generated.returncode == 0, generated.stderr
    decided = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/commands/test_wishlist.py")
    assert decided.returncode == 0, decided.stdout
    told = CURL.search(HOW_TO.read_text())
    assert told is not None
    path, body, expected = told[1], json.loads(told[2]), json.loads(told[3])
    async with serving(project, settings, "processor", "commands") as url:
        status, answer = await answered(url + path, body, settings)
        again = await answered(url + path, body, settings)
        wrong = await answered(url + path, {"item": "50"}, settings)
    assert (status, {name: answer[name] for name in expected}) == (200, expected)
    assert (again[0], again[1]["events"]) == (200, [])
    assert (wrong[0], wrong[1]["errors"][0]["pointer"]) == (422, "/item")


async def test_a_change_that_readers_could_not_read_is_refused_at_start(
    project: Path, run: Run, settings: Settings
) -> None:
    """A field without a default would leave every record on the log unreadable; the message names it."""
    run("-m", "schemas.generate")
    assert run("-m", "console", "schemas", "register").returncode == 0
    contracts = project / "schemas" / "avro" / "wishes.avsc"
    changed = json.loads(contracts.read_text())
    changed[1]["fields"].append({"name": "colour", "type": "string", "doc": "Which one."})
    contracts.write_text(json.dumps(changed))
    assert run("-m", "schemas.generate").returncode == 0
    checked = run("-m", "console", "schemas", "check")
    started = run("-m", "console", "serve", "processor")
    for refused in (checked, started):
        assert refused.returncode == 1
        said = refused.stdout + refused.stderr
        assert "WishMade" in said
        assert "colour" in said
        assert "default" in said
