"""A counter in a process of its own that keeps pieces of few offsets and looks for them often, to be killed at it."""

import asyncio

import inference.counting.gists
import inference.counting.worker
from infra.health import Health
from infra.settings import Settings

SIZE = 16

if __name__ == "__main__":
    inference.counting.gists.SIZE = SIZE
    inference.counting.worker.KEEP_EVERY_S = 0.02
    asyncio.run(inference.counting.worker.work(Settings(), Health("counter")))
