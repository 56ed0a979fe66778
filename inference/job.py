"""A training run in a process of its own, so that fitting neither stops the trainer's health nor outlives it.

Reads an order as JSON from standard input, writes what came of it as JSON to standard output. It ends at once when its
parent is gone: then standard input ends, which a thread waits for.
"""

import asyncio
import dataclasses
import os
import sys
import threading
from contextlib import suppress
from typing import Any

import orjson

from inference.run import Order, Result, carry_out
from infra.log import configure_logging
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment
from schemas.errors import Invalid, Problem, Unavailable
from schemas.models import OffsetRange

PARENT_GONE = 3
OUT_OF_MEMORY = "no memory was left, perhaps: use fewer interactions, item-to-item instead of ease, or a larger machine"


async def in_process(settings: Settings, order: Order) -> Result:
    """Carry out an order in a child process; it ends when this is cancelled.

    Raises:
        Invalid: the run cannot be done; the reason names the remedy.
        Unavailable: something it needs was away; the same order may be given again.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "inference.job",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=child_environment(settings),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(orjson.dumps(dataclasses.asdict(order)) + b"\n")
        await process.stdin.drain()
        said = await process.stdout.read()
        status = await process.wait()
    except (BrokenPipeError, ConnectionResetError):
        said, status = b"", await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            with suppress(ProcessLookupError):
                await process.wait()
    return _read(said, status)


def _read(said: bytes, status: int) -> Result:
    if status or not said:
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        why = OUT_OF_MEMORY if status < 0 else "see the trainer's log"
        raise Invalid(f"the process of the run ended with {ended}: {why}", code="run_crashed")
    answer: dict[str, Any] = orjson.loads(said)
    if "result" in answer:
        return Result(**answer["result"])
    kind = Unavailable if answer["retriable"] else Invalid
    raise kind(answer["detail"], code=answer["code"])


async def _answer(settings: Settings, order: Order) -> dict[str, Any]:
    try:
        result = await carry_out(settings, await open_decoder(settings), order)
    except Problem as problem:
        return {"retriable": problem.retriable, "detail": problem.detail, "code": problem.code}
    return {"result": dataclasses.asdict(result)}


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(PARENT_GONE)


def main() -> None:
    """Take one order and answer it."""
    given = orjson.loads(sys.stdin.buffer.readline())
    ranges = tuple(OffsetRange(**part) for part in given.pop("ranges"))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = Settings()
    configure_logging("trainer", settings.log_level)
    answer = asyncio.run(_answer(settings, Order(**given, ranges=ranges)))
    sys.stdout.buffer.write(orjson.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # the thread still reads


if __name__ == "__main__":
    main()
