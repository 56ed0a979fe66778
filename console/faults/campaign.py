"""A campaign: clients on one side, faults on the other, the log in between; and a check of everything afterwards."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaProducer

from console.faults.check import Violation, check_history
from console.faults.clients import Clients
from console.faults.history import Effect, Operation, write_history
from console.faults.proxy import MISHAPS, Proxy
from console.faults.watch import Watch
from console.faults.workers import Worker
from infra.access.client import headers_of
from infra.kafka.decided import KafkaLog, batch_producer
from infra.kafka.records import Raw
from infra.registry.enlist import open_decoder
from infra.settings import Settings, StackSettings
from infra.stack.ports import Ports
from infra.stack.stack import Stack
from schemas.envelope import Recorded
from schemas.errors import Unavailable
from schemas.profiles import PreferencesChanged, UserRegistered
from schemas.topics import TOPICS

KINDS = ("kill a processor", "pause a processor", "kill the broker", "cut every connection", *MISHAPS)
PAUSE_S = 9.0
"""Longer than the session timeout: by then another processor owns the partitions."""
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
        void: records that reached the log and do not count.
        seen: what the services said to be wrong, by fault.
        in_doubt: batches that were void or not acknowledged, as the processors counted them, by why.
    """

    operations: list[Operation] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    void: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    seen: dict[str, set[str]] = field(default_factory=dict)
    in_doubt: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)


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
        self._workers = [Worker(settings, stack.data_dir / f"processor-{n}") for n in range(plan.processors)]
        self._resuming: set[asyncio.Task[None]] = set()
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
            self._say(f"{number}/{self._plan.faults} {kind}; {self._clients.decided} commands decided so far")
            await self._apply(kind)
            await self._progress(self._plan.settle)
            self._report.faults[kind] += 1
            self._fault = "no fault"
        await asyncio.gather(*self._resuming)

    async def _apply(self, kind: str) -> None:
        match kind:
            case "kill a processor":
                worker = self._random.choice(self._workers)
                worker.kill()
                await asyncio.sleep(1)
                worker.start()
            case "pause a processor":
                worker = self._random.choice(self._workers)
                worker.signal(signal.SIGSTOP)
                await asyncio.sleep(PAUSE_S)
                worker.signal(signal.SIGCONT)
            case "kill the broker":
                self._stack.kill("kafka")
                await asyncio.sleep(1)
                await asyncio.to_thread(self._stack.up, ["kafka"])
            case "cut every connection":
                self._proxy.cut()
            case _:
                mishap = next(one for one in MISHAPS if one == kind)
                before = self._proxy.happened[mishap]
                self._proxy.plan(mishap, times := self._random.randint(1, 4))
                await self._until(lambda: self._proxy.happened[mishap] >= before + times, f"'{kind}' to happen")

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
        async for raw, recorded in profiles(self._stack.settings):
            if recorded is None:
                self._report.void += 1
            elif (mark := _mark(recorded.event)) is not None:
                effect = Effect(mark, raw.key, recorded.meta.version or 0, str(raw.position))
                self._report.effects.append(effect)
        self._report.seen = dict(self._watch.seen)
        for (_, why), count in self._watch.in_doubt.items():
            self._report.in_doubt[why] += int(count)
        self._report.violations = check_history(self._report.operations, self._report.effects)
        write_history(self._stack.data_dir / HISTORY, self._report.operations, self._report.effects)


async def profiles(settings: Settings) -> AsyncIterator[tuple[Raw, Recorded | None]]:
    """Every record of the topic, with what it says; nothing where it is void."""
    decoder = await open_decoder(settings)
    producer: AIOKafkaProducer = batch_producer(settings)
    for partition in range(settings.kafka.partitions):
        log = KafkaLog(settings, producer, TOPICS["profiles"], partition)
        start, at_end = 0, False
        while not at_end:
            page = await log.read(start)
            await decoder.learn(raw for raw in page.records if raw.counts)
            for raw in page.records:
                yield raw, decoder.decode(raw)
            start, at_end = page.next_offset, page.at_end
        await log.close()
    await producer.stop()


def _mark(event: object) -> str | None:
    match event:
        case UserRegistered(name=name):
            return name
        case PreferencesChanged(favourite_categories=(mark,)):
            return mark
        case _:
            return None
