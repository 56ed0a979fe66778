"""A campaign: clients on one side, faults on the other, the log in between; and a check of everything afterwards."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from console.faults.check import Violation, check_history
from console.faults.clients import Clients
from console.faults.history import Effect, Operation, write_history
from console.faults.log import profiles
from console.faults.proxy import MISHAPS, Mishap, Proxy, Target
from console.faults.watch import Watch
from console.faults.workers import Worker
from infra.access.client import headers_of
from infra.settings import Settings, StackSettings
from infra.stack.ports import Ports
from infra.stack.stack import Stack
from schemas.errors import Unavailable

DEAD_OWNER = "a dead owner's request arrives"
KINDS = ("kill a processor", "pause a processor", "kill the broker", "cut every connection", DEAD_OWNER, *MISHAPS[:-1])
PAUSE_S = 7.0
"""Longer than the session timeout; the pause goes on until others own every partition."""
RECOVERY_S = 120.0
SERVERS = ("kafka", "registry", "commands")
HISTORY = "history.ndjson"

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is done.

    Attributes:
        commands: decided at least.
        settle: accepted commands between two faults.
    """

    commands: int
    faults: int
    seed: int = 1
    clients: int = 24
    users: int = 300
    processors: int = 3
    settle: int = 100

    def kinds(self) -> Iterator[str]:
        """Which faults, in which order: every kind equally often."""
        choose = random.Random(self.seed)
        for start in range(0, self.faults, len(KINDS)):
            round_of = choose.sample(KINDS, len(KINDS))
            yield from round_of[: self.faults - start]


@dataclass
class Report:
    """What came of it.

    Attributes:
        effects: what every record of the log says, the void ones too.
        seen: what the services said to be wrong, by fault.
        counted: batches that were overtaken, unknown or slow, as the processors counted them.
    """

    operations: list[Operation] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    seen: dict[str, set[str]] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    @property
    def void(self) -> int:
        """Records that reached the log and do not count."""
        return sum(not effect.counts for effect in self.effects)


async def run_campaign(plan: Plan, folder: Path, say: Say) -> Report:
    """Run it on servers of its own in `folder`, which stays for looking into.

    Raises:
        Unavailable: the servers do not start, or the write side does not recover from a fault.
    """
    ports = Ports(folder.absolute())
    proxy = Proxy(lambda: ports.of("kafka"))
    advertised = await proxy.start()
    stack = Stack(Settings(data_dir=folder, stack=StackSettings(kafka_advertised_port=advertised)))
    try:
        say("starting Kafka, the registry and the command API")
        await asyncio.to_thread(stack.up, SERVERS)
        return await Campaign(plan, stack, proxy, say).run()
    finally:
        await asyncio.to_thread(stack.down)
        await proxy.stop()


class Campaign:
    """One run on a stack that has been started."""

    def __init__(self, plan: Plan, stack: Stack, proxy: Proxy, say: Say) -> None:
        settings = stack.settings
        self._plan = plan
        self._stack = stack
        self._proxy = proxy
        self._say = say
        self._random = random.Random(plan.seed)
        self._clients = Clients(settings.commands.url, headers_of(settings), plan.users, self._random)
        names, ports = [f"processor-{number}" for number in range(plan.processors)], Ports(stack.data_dir)
        self._workers = [Worker(settings, stack.data_dir / name, ports.choose(name)) for name in names]
        self._fault = "no fault"
        self._done = False
        self._report = Report(operations=self._clients.operations)
        urls = {worker.name: f"http://127.0.0.1:{worker.port}" for worker in self._workers}
        self._watch = Watch({**urls, "commands": settings.commands.url}, lambda: self._fault)

    async def run(self) -> Report:
        """Send, break, wait, look."""
        try:
            for worker in self._workers:
                worker.start()
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch.run())
                sending = group.create_task(self._clients.run(self._plan.clients, self._goes_on))
                await self._progress(self._plan.settle)
                await self._break_things()
                self._done = True
                await sending
                await self._settled()
                watching.cancel()
            await self._look()
        finally:
            for worker in self._workers:
                worker.kill()
        return self._report

    def _goes_on(self) -> bool:
        return not self._done or self._clients.decided < self._plan.commands

    async def _break_things(self) -> None:
        for number, kind in enumerate(self._plan.kinds(), 1):
            self._fault = kind
            so_far = f"{self._clients.decided} commands decided so far"
            self._say(f"{time.strftime('%H:%M:%S')} {number}/{self._plan.faults} {kind}; {so_far}")
            await self._apply(kind)
            await self._progress(self._plan.settle)
            await self._look_around()
            self._report.faults[kind] += 1
            self._fault = "no fault"

    async def _apply(self, kind: str) -> None:
        match kind:
            case "kill a processor":
                worker = self._random.choice(self._workers)
                worker.kill()
                await asyncio.sleep(1)
                worker.start()
            case "pause a processor":
                await self._pause(self._random.choice(self._workers))
            case "kill the broker":
                self._stack.kill("kafka")
                await asyncio.sleep(1)
                await asyncio.to_thread(self._stack.up, ["kafka"])
            case "cut every connection":
                self._proxy.cut()
            case _ if kind == DEAD_OWNER:
                await self._bury_and_deliver()
            case _:
                mishap = next(one for one in MISHAPS if one == kind)
                await self._meet(mishap, "commands", self._random.randint(1, 2))
                await self._meet(mishap, "events", self._random.randint(1, 2))

    async def _pause(self, worker: Worker) -> None:
        """Stop it until others have its partitions and serve them; then it wakes up and does not know."""
        worker.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(PAUSE_S)
            partitions = [f"profiles/{number}" for number in range(self._stack.settings.kafka.partitions)]
            await self._until(lambda: self._watch.own(partitions, besides=worker.name), "others to take over")
        finally:
            worker.signal(signal.SIGCONT)

    async def _bury_and_deliver(self) -> None:
        """Keep batches on their way until every owner is a new one that has written already."""
        await self._meet("strand request", "events", 2)
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.start()
        await self._progress(self._plan.settle)
        await self._proxy.release()

    async def _meet(self, mishap: Mishap, target: Target, times: int) -> None:
        wanted = self._proxy.happened[mishap, target] + times
        self._proxy.plan(mishap, target, times)
        await self._until(lambda: self._proxy.happened[mishap, target] >= wanted, f"'{mishap}' to happen")

    async def _look_around(self) -> None:
        """Let everybody be looked at once more; a round that is under way may have begun before the fault."""
        rounds = self._watch.rounds + 2
        await self._until(lambda: self._watch.rounds >= rounds, "a look at everybody")

    async def _progress(self, accepted: int) -> None:
        """Wait until so many more commands were accepted."""
        target = self._clients.accepted + accepted
        await self._until(lambda: self._clients.accepted >= target, "commands to be accepted again")

    async def _until(self, reached: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(RECOVERY_S):
                while True:
                    if reached():
                        return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            self._done = True
            raise Unavailable(f"waited {RECOVERY_S:.0f} s for {what}, after '{self._fault}'", code="stuck") from None

    async def _settled(self) -> None:
        """Let everything that was sent be decided: what is accepted now stands behind it."""
        target = self._clients.accepted + 4 * self._plan.users
        await self._clients.run(self._plan.clients, lambda: self._clients.accepted < target)

    async def _look(self) -> None:
        """Ask what became of what nobody answered, read the whole log, compare."""
        await self._clients.ask()
        self._report.effects = [effect async for effect in profiles(self._stack.settings)]
        self._report.seen = dict(self._watch.seen)
        self._report.counted = self._watch.counted
        write_history(self._stack.data_dir / HISTORY, self._report.operations, self._report.effects)
        self._report.violations = check_history(self._report.operations, self._report.effects)
