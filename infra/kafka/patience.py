"""A question to the brokers, asked again while the leadership of a partition moves or nobody answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka import AIOKafkaClient
from aiokafka.errors import (
    CorruptRecordException,
    KafkaError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)

from schemas.errors import Unavailable

SILENCE_S = 30.0
"""After this long without an answer the brokers count as away."""
RETRY_S = 0.2
FINAL = (OffsetOutOfRangeError, TopicAuthorizationFailedError, CorruptRecordException)
"""What no waiting changes."""

T = TypeVar("T")


async def answered(client: AIOKafkaClient, name: str, ask: Callable[[], Awaitable[T | None]]) -> T:
    """What the brokers say at last.

    Args:
        client: learns anew who leads what before it asks again.
        name: what is asked for, for the message.
        ask: asks once; gives None while there is nothing to say yet.

    Raises:
        KafkaError: one of `FINAL`.
        Unavailable: nothing came.
    """
    deadline = asyncio.get_running_loop().time() + SILENCE_S
    cause = "no record came"
    while asyncio.get_running_loop().time() < deadline:
        try:
            if (answer := await ask()) is not None:
                return answer
        except FINAL:
            raise
        except KafkaError as fault:
            cause = repr(fault)
            await asyncio.sleep(RETRY_S)
            await client.force_metadata_update()
    raise Unavailable(f"{name} did not come in {SILENCE_S:.0f} s: {cause}")
