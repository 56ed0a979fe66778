"""`python -m inference.training.fit`: the process that carries out one training job, so that it can be ended any time.

It reads the job from standard input and tells on standard output how it goes; whatever libraries print goes to standard
error. When standard input ends, whoever wanted the result is gone, and so it goes as well, even while it still starts.
"""

import asyncio
import os
import sys
import threading
from typing import BinaryIO

DESERTED = 3
"""Exit status when nobody is there any more."""


def main() -> None:
    """Carry out the job on standard input."""
    out = _private_output()
    text = _first_line()
    threading.Thread(target=_watch, daemon=True).start()
    # Imported only now: this takes seconds, in which the process may be deserted.
    from inference.fit_job import carry_out
    from inference.training.job import Line, job, line_of
    from infra.log import configure_logging
    from infra.settings import Settings

    def say(said: Line) -> None:
        _write(out, line_of(said))

    settings = Settings()
    configure_logging("trainer fit", settings.log_level)
    asyncio.run(carry_out(settings, job(text), say))


def _private_output() -> BinaryIO:
    """The pipe to the trainer; what others print goes to standard error."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out


def _first_line() -> bytes:
    """The job, byte by byte: nothing behind it may be held back from whoever watches for the end."""
    text = bytearray()
    while not text.endswith(b"\n"):
        text += os.read(sys.stdin.fileno(), 1) or os._exit(DESERTED)
    return bytes(text)


def _write(out: BinaryIO, line: bytes) -> None:
    try:
        out.write(line)
    except BrokenPipeError:
        os._exit(DESERTED)


def _watch() -> None:
    """End with whoever wanted the result: a trainer that is killed cannot end its processes."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(DESERTED)


if __name__ == "__main__":
    main()
