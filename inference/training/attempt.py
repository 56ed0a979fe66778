"""The process that fits, as the trainer holds it: begun, heard, measured and ended."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import psutil
import structlog

from inference.training.job import Done, Fault, Job, Line, Step, Use, line, line_of
from infra.settings import Settings, child_environment

SAMPLE_S = 0.5
GRACE_S = 1.0
"""How long a process that was told to end may take."""
LONGEST_LINE = 1 << 24

log = structlog.get_logger()


class Attempt:
    """One process at work on one job; made by `begun`.

    Attributes:
        use: what it has used so far, as last seen from outside; in the end what it says itself.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.use = Use()

    async def lines(self) -> AsyncIterator[Line]:
        """What it says, the last one `Done` or `Fault`; a process that dies without a word has a fault as well."""
        assert self._process.stdout is not None
        last: Line | None = None
        async for text in self._process.stdout:
            last = line(text)
            match last:
                case Done(use=use) | Fault(use=use):
                    self.use = use
                case Step(bytes_read=bytes_read):
                    self.use = replace(self.use, bytes_read=max(self.use.bytes_read, bytes_read))
            yield last
        if not isinstance(last, Done | Fault):
            yield self._died(await self._process.wait())

    async def sample(self) -> None:
        """Look every now and then at what it uses, until cancelled or it is gone."""
        with suppress(psutil.Error):
            seen = psutil.Process(self._process.pid)
            while True:
                times, memory = seen.cpu_times(), seen.memory_info()
                peak = max(self.use.peak_memory_bytes, memory.rss)
                self.use = replace(self.use, cpu_s=times.user + times.system, peak_memory_bytes=peak)
                await asyncio.sleep(SAMPLE_S)

    async def end(self) -> None:
        """End it, whatever it does; without effect when it has ended."""
        for signal in (self._process.terminate, self._process.kill):
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    signal()
                with suppress(TimeoutError):
                    async with asyncio.timeout(GRACE_S):
                        await self._process.wait()
        await self._process.wait()

    def _died(self, status: int) -> Fault:
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        remedy = "`retrace logs trainer` may tell why; was there enough memory?"
        detail = f"the process that fitted {how} without a word: {remedy}"
        return Fault("fit_died", detail, retriable=False, use=self.use)


@asynccontextmanager
async def begun(settings: Settings, job: Job) -> AsyncIterator[Attempt]:
    """A process at work on the job; it is ended when this is left."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "inference.training.fit"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=child_environment(settings),
        limit=LONGEST_LINE,
    )
    attempt = Attempt(process)
    sampling = asyncio.create_task(attempt.sample())
    try:
        assert process.stdin is not None
        process.stdin.write(line_of(job))
        yield attempt
    finally:
        sampling.cancel()
        await asyncio.shield(attempt.end())
        with suppress(asyncio.CancelledError):
            await sampling
