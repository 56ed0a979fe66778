"""Tells training runs to whoever keeps lineage: to a file, to an address, each at least once and in order.

A consumer group shares the work among trainers and remembers what has been told. An event that is told twice after a
crash is the same event: receivers know a run by its id and its state.
"""

import asyncio
from types import TracebackType
from typing import Self

import aiohttp
import structlog

from inference.follower import Batch, Follower
from inference.lineage.attempts import NO_ATTEMPTS, Attempts, about, evolve
from inference.lineage.events import Json, as_json, names_of, told
from infra.health import Health
from infra.kafka.records import Decoder
from infra.settings import OpenLineageSettings, Settings
from schemas.errors import Invalid, Problem, Unavailable

COMPONENT = "openlineage"
RETRY_S = 2.0
AGAIN = frozenset({408, 425, 429})
"""Answers of a client's fault that pass."""

log = structlog.get_logger()


async def emit(settings: Settings, decoder: Decoder, health: Health) -> None:
    """Tell every run, until cancelled."""
    group = f"openlineage.{settings.tenant}"
    async with (
        Receiver(settings.openlineage) as receiver,
        Follower(settings, decoder, group=group, topic="models") as follower,
    ):
        emitter = Emitter(settings, receiver, health)
        while True:
            try:
                batch = await follower.poll()
                await emitter.hear(batch)
                if batch.events:
                    await follower.commit()
            except Unavailable as problem:
                health.failed("log", problem.detail, vital=False)
                await asyncio.sleep(RETRY_S)


class Receiver:
    """The file and the address of the settings; use it as an async context manager."""

    def __init__(self, options: OpenLineageSettings) -> None:
        self._options = options
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        key = self._options.api_key
        headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        timeout = aiohttp.ClientTimeout(total=self._options.timeout_s)
        connector = aiohttp.TCPConnector(force_close=True)  # seldom used: a kept connection would be closed by then
        self._session = aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def take(self, event: Json) -> None:
        """Give it one event.

        Raises:
            Unavailable: it does not take it now; give it again.
            Invalid: it will never take it.
        """
        text = as_json(event)
        if self._options.file is not None:
            await asyncio.to_thread(self._write, text)
        if self._options.url is not None:
            await self._post(self._options.url, text)

    def _write(self, text: str) -> None:
        assert self._options.file is not None
        try:
            self._options.file.parent.mkdir(parents=True, exist_ok=True)
            with self._options.file.open("a") as lines:
                lines.write(text + "\n")
        except OSError as fault:
            raise Unavailable(f"{self._options.file} cannot be written: {fault}") from fault

    async def _post(self, url: str, text: str) -> None:
        assert self._session is not None, "use `async with`"
        headers = {"content-type": "application/json"}
        try:
            async with self._session.post(url, data=text, headers=headers) as response:
                status, said = response.status, (await response.text())[:500]
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise Unavailable(f"{url} does not answer: {fault!r}") from fault
        if status >= 500 or status in AGAIN:
            raise Unavailable(f"{url} answers {status}: {said}")
        if status >= 400:
            raise Invalid(f"{url} refuses an event with {status}: {said}", code="lineage_refused")


class Emitter:
    """Folds the runs and tells what an earlier emitter has not told."""

    def __init__(self, settings: Settings, receiver: Receiver, health: Health) -> None:
        self._names = names_of(settings)
        self._receiver = receiver
        self._health = health
        self._attempts: Attempts = NO_ATTEMPTS

    async def hear(self, batch: Batch) -> None:
        """Take what came; return when all of it has been told."""
        if batch.restarted:
            self._attempts = NO_ATTEMPTS
        for heard in batch.events:
            event, meta = heard.recorded.event, heard.recorded.meta
            self._attempts = evolve(self._attempts, event, meta)
            key = about(event)
            if heard.handled or key is None:
                continue
            said = told(self._names, self._attempts[key], event, meta)
            if said is not None:
                await self._tell(said)

    async def _tell(self, event: Json) -> None:
        """Tell one event, until it is taken or refused for good: what comes later may not overtake it."""
        while True:
            try:
                await self._receiver.take(event)
                self._health.ok(COMPONENT)
                return
            except Problem as problem:
                self._health.failed(COMPONENT, problem.detail, vital=False)
                log.warning("lineage is not taken", cause=problem.detail, retriable=problem.retriable)
                if not problem.retriable:
                    return
                await asyncio.sleep(RETRY_S)
