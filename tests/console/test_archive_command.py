"""`retrace archive`, as people give it: results on standard output, and a status that can be relied on."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from infra.kafka.topics import physical
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment

from .logged import fill


def retrace(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "console", "archive", *arguments]
    environment = child_environment(settings)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


async def test_create_list_and_verify(settings: Settings, tmp_path: Path) -> None:
    """Whole: status 0, and the same from all three. Damaged: status 1, and one sentence that names the file."""
    notary = settings.notary.model_copy(update={"key_file": tmp_path / "n.key", "public_keys": tmp_path / "n"})
    mine = Settings(
        **settings.model_dump(exclude_unset=True)
        | {"archive": (tmp_path / "archive").as_uri(), "notary": notary.model_dump()}
    )
    fill(mine, await open_decoder(mine), 200)
    made = await asyncio.to_thread(retrace, mine, "create", "--topic", "interactions", "-o", "json")
    assert made.returncode == 0, made.stderr
    assert sum(one["records"] for one in json.loads(made.stdout)) == 200
    listed = await asyncio.to_thread(retrace, mine, "list", "-o", "json")
    assert sum(one["end"] - one["first"] for one in json.loads(listed.stdout)) == 200
    verified = await asyncio.to_thread(retrace, mine, "verify", "--against-log", "-o", "json")
    assert verified.returncode == 0, verified.stderr
    assert sum(one["compared"] for one in json.loads(verified.stdout)) == 200
    damaged = next((tmp_path / "archive" / physical(mine, "interactions")).rglob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    told = await asyncio.to_thread(retrace, mine, "verify")
    assert told.returncode == 1
    assert damaged.name in told.stderr
    assert "Traceback" not in told.stderr
    nothing = await asyncio.to_thread(retrace, mine, "verify", "--topic", "catalog")
    assert nothing.returncode == 1
    assert "holds nothing of catalog" in nothing.stderr
