"""Deciding for one partition: drives the conversation of `commands.protocol.writer` over a real log."""

import asyncio
import contextlib
import time
from collections import Counter as Counts
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, assert_never

import structlog
from prometheus_client import Counter, Gauge, Histogram

from commands.aggregate import Aggregate
from commands.processor.inbox import Inbox
from commands.processor.memory import Memory
from commands.processor.snapshot import Damaged
from commands.protocol.log import DecidedLog
from commands.protocol.writer import Append, Ask, Bury, Read, Take, write
from infra.ending import ended
from infra.health import Health
from infra.kafka.append import Landed, Page, Unknown
from infra.kafka.deadletters import Letters
from infra.kafka.records import Decoder, Raw
from schemas.codec import FRAME
from schemas.errors import Incompatible, Problem

DECIDED = Counter(
    "retrace_commands_answered_total", "Commands answered, by the type of the answer.", ["topic", "answer"]
)
GROUP_COMMANDS = Histogram(
    "retrace_command_group_size",
    "Commands decided in one batch.",
    ["topic"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
APPEND_SECONDS = Histogram(
    "retrace_decided_append_seconds",
    "Time from handing a batch to Kafka to its acknowledgement.",
    ["topic"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5),
)
IN_DOUBT = Counter(
    "retrace_decided_batches_in_doubt_total", "Batches that were void or not acknowledged.", ["topic", "why"]
)
NEXT_OFFSET = Gauge(
    "retrace_decided_next_offset", "First offset that the processor has not folded.", ["topic", "partition"]
)

CHANGES_DECIDED = 10_000
CHANGES_READ = 100_000
"""So many are written to the snapshot however young they are. While the log is read, most change again soon."""

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

logger = structlog.get_logger()


class Flow(Protocol):
    """The tap of one command partition."""

    async def open_at(self, offset: int, inbox: Inbox) -> None:
        """Let commands come into the inbox, from `offset`."""

    def open(self) -> None:
        """Let commands come again."""


@dataclass
class Owner:
    """One partition of one decided topic, while this process is assigned it.

    Attributes:
        catch_up: a quicker way to read most of the log; the conversation reads the rest, or everything.
    """

    aggregate: Aggregate[Any, Any, Any]
    partition: int
    log: DecidedLog
    decoder: Decoder
    letters: Letters
    health: Health
    flow: Flow
    memory: Memory
    catch_up: Callable[[Memory], Awaitable[None]] | None = None
    inbox: Inbox = field(default_factory=Inbox)

    def __post_init__(self) -> None:
        self._recalled = False
        self._damage = ""
        self._task: asyncio.Task[NoReturn] | None = None
        self._flowing = False
        self._name = f"{self.aggregate.topic}/{self.partition}"

    def start(self) -> None:
        """Begin, in a task of its own."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """End at once. A batch under way may still land: where it was expected, or void."""
        task, self._task = self._task, None
        if task is not None:
            await ended(task)
        await self.memory.close()
        await self.log.close()
        self.health.components.pop(self._name, None)

    async def _run(self) -> NoReturn:
        """Hold the conversation; after a fault again, from the state that is on record."""
        pause_s = FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            try:
                await self._converse()
            except Damaged as damage:
                self._damage = str(damage)
            except Problem as problem:
                self.health.failed(self._name, f"{problem.code}: {problem.detail}")
                logger.error("partition stopped", partition=self._name, code=problem.code, detail=problem.detail)
            except Exception as fault:
                self.health.failed(self._name, repr(fault))
                logger.exception("partition stopped", partition=self._name)
            pause_s = (
                FIRST_PAUSE_S if time.monotonic() - started > LONGEST_PAUSE_S else min(pause_s * 2, LONGEST_PAUSE_S)
            )
            await asyncio.sleep(pause_s)

    async def _converse(self) -> NoReturn:
        if self._damage:
            await self.memory.throw_away(self._damage)
            self._damage = ""
        if not self._recalled:
            self.health.failed(self._name, "opening its snapshot")
            await self.memory.recall(self.log, self.decoder)
            self._recalled = True
        if self.catch_up is not None:
            self.health.failed(self._name, f"reading events from {self.memory.state.next_offset}")
            await self.catch_up(self.memory)
        conversation = write(self.aggregate, self.decoder, self.memory.state)
        ask = next(conversation)
        while True:
            ask = conversation.send(await self._answer(ask))

    async def _answer(self, ask: Ask) -> Any:
        match ask:
            case Read(start=start):
                return await self._read(start)
            case Take(start=start):
                return await self._take(start)
            case Bury():
                return await self._bury(ask)
            case Append():
                return await self._append(ask)
            case _:
                assert_never(ask)

    async def _read(self, start: int) -> Page:
        self.memory.keep(changes=CHANGES_READ)
        self.health.failed(self._name, f"reading events from {start}")
        page = await self.log.read(start)
        await self.decoder.learn(raw for raw in page.records if raw.counts)
        return page

    async def _take(self, start: int) -> Sequence[Raw]:
        if not self._flowing:
            await self.flow.open_at(start, self.inbox)
            self._flowing = True
        self.memory.keep(changes=CHANGES_DECIDED)
        self.health.ok(self._name, self.memory.trouble)
        NEXT_OFFSET.labels(self.aggregate.topic, self.partition).set(self.memory.state.next_offset)
        raws = await self.inbox.take(start)
        if self.inbox.has_room:
            self.flow.open()
        for raw in {(raw.value or b"")[: FRAME.size]: raw for raw in raws}.values():  # one for each schema
            with contextlib.suppress(Incompatible):  # the command is refused when it is decided
                await self.decoder.learn([raw])
        return raws

    async def _bury(self, ask: Bury) -> None:
        for raw, problem in ask.letters:
            await self.letters.write("processor", raw, problem)

    async def _append(self, ask: Append) -> Landed | Unknown:
        group = ask.group
        started = time.perf_counter()
        outcome = await self.log.append(group.entries)
        APPEND_SECONDS.labels(self.aggregate.topic).observe(time.perf_counter() - started)
        if outcome == Landed(group.expected):
            GROUP_COMMANDS.labels(self.aggregate.topic).observe(len(group.answered))
            for answer, number in Counts(group.answered).items():
                DECIDED.labels(self.aggregate.topic, answer).inc(number)
            return outcome
        why = "unknown" if isinstance(outcome, Unknown) else "overtaken"
        IN_DOUBT.labels(self.aggregate.topic, why).inc()
        logger.warning("batch in doubt", partition=self._name, expected=group.expected, outcome=repr(outcome))
        if isinstance(outcome, Unknown):
            self.health.failed(self._name, outcome.cause)
        return outcome
