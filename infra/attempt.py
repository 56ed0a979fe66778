"""Working until it ends, whatever ends it, so that it can be begun again and the cause is known."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from schemas.errors import Problem

STOP_S = 10.0
"""How long what is given up may take to let go."""

log = structlog.get_logger()


async def attempt(work: Coroutine[Any, Any, None], what: str) -> str:
    """Work until it ends; returns why it did, for people.

    It is a task of its own: while brokers are away, stopping aiokafka's consumer can raise CancelledError, which would
    end the caller in silence.

    Args:
        what: cannot be done then, for the log.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=STOP_S)
    if task.cancelled():
        return "the Kafka client gave up"
    leaves = list(_leaves(task.exception()))
    cause = "; ".join(str(leaf) or repr(leaf) for leaf in leaves) or "it ended"
    foreseen = all(isinstance(leaf, Problem | KafkaError | OSError) for leaf in leaves)
    log.error(f"{what} stopped", cause=cause, exc_info=None if foreseen else task.exception())
    return cause


def _leaves(fault: BaseException | None) -> Iterator[BaseException]:
    if isinstance(fault, BaseExceptionGroup):
        for inner in fault.exceptions:
            yield from _leaves(inner)
    elif fault is not None:
        yield fault
