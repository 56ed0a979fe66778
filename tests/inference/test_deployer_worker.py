"""What the deployer does when its own machine fails it, and what it leaves alone while it reads the log anew."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from inference.deployment.deployer import Worker
from inference.deployment.placement import Job, Placement, Version
from inference.follower import Batch
from infra.health import Health
from infra.settings import DeployerSettings, Settings

from ..eventually import eventually

LIVE = Version("films", 1, "a" * 64)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
NEWS = Batch((), restarted=False, caught_up=True)


class Servers:
    """Triton servers that lack everything, and a repository whose disk is full for a moment."""

    def __init__(self) -> None:
        self.brought: list[Version] = []
        self.removed: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def lacking(self, version: Version) -> list[str]:
        self.meanwhile()
        return ["one"]

    async def bring(self, version: Version) -> dict[str, str]:
        self.brought.append(version)
        return {}

    async def remove(self, name: str) -> dict[str, str]:
        self.removed.append(name)
        if len(self.removed) == 1:
            raise OSError("No space left on device")
        return {}


class Client:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def send(self, command: Any, **_: Any) -> None:
        self.sent.append(command)


def worker(servers: Servers, client: Client, health: Health) -> Worker:
    settings = Settings(deployer=DeployerSettings(retry_s=0.01))
    made = Worker(settings, servers, client, health)  # type: ignore[arg-type]
    made.hear(NEWS)
    return made


async def test_a_disk_that_is_full_is_told_and_tried_again() -> None:
    """The step would else be nobody's, with everything green, until somebody restarts the deployer."""
    servers, client, health = Servers(), Client(), Health("deployer")
    job = Job("withdraw", "d1", LIVE, ("films-v1",), NOW, "c")
    ours = worker(servers, client, health)
    ours._placements["films"] = Placement(job=job)

    async def reported() -> bool:
        return bool(client.sent)

    ours.steer()
    await eventually(reported)
    assert len(servers.removed) >= 2
    await ours.stop()


async def test_while_the_log_is_read_anew_nothing_is_repaired() -> None:
    """What served at some time in the past would be loaded, and nothing would take it away again."""
    servers = Servers()
    ours = worker(servers, Client(), Health("deployer"))
    ours._placements["films"] = Placement(live=LIVE)
    servers.meanwhile = lambda: ours.hear(Batch((), restarted=True, caught_up=False))
    await ours.repair()
    await ours.repair()
    assert servers.brought == [LIVE], "the second time its placement is not known"
    ours._placements["films"] = Placement(live=LIVE)
    await ours.repair()
    assert servers.brought == [LIVE]
