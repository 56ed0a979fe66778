"""The notary's own verification, as its health tells it."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from infra.audit.rounds import verify_now_and_then
from infra.ending import ended
from infra.health import Health
from infra.settings import Settings
from schemas.audit import LogVerified

from ...eventually import eventually

NOBODY: Any = None


async def test_what_was_found_is_told_after_a_restart_too() -> None:
    """Else a restart would clear the alert for a day, and the log is as damaged as before."""
    said = LogVerified(
        log="profiles/0",
        checkpoints=1,
        records=1,
        end=1,
        findings=("profiles/0/7 was changed",),
        verified_at=datetime.now(UTC),
    )
    ledger: Any = SimpleNamespace(verified={"profiles/0": said})
    health = Health("notary")
    task = asyncio.create_task(verify_now_and_then(Settings(), NOBODY, ledger, NOBODY, health))

    async def told() -> bool:
        return "verification" in health.components

    await eventually(told)
    assert not health.components["verification"].ok
    assert "profiles/0/7 was changed" in health.components["verification"].cause
    await ended(task)
