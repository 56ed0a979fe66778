"""Projectors that start at once: a process that has imported everything, and forks one for every line it reads.

A line says whether the projector joins the group of projectors (`share`) or reads every partition (`whole`); the answer
is its process id. Run as a script, in the environment that the projectors are to have.
"""

import asyncio
import os
import signal
import sys

from infra.health import Health
from infra.kafka.membership import Whole
from infra.kafka.records import Decoder
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from projections import runner
from projections.views import decisions_search, popularity, user_history
from projections.watch import partitions_of

VIEWS = (user_history.VIEW, popularity.VIEW, decisions_search.INDEX)


async def project(settings: Settings, how: str) -> None:
    """Fold until killed."""
    share = Whole(await partitions_of(settings)) if how == "whole" else None
    await runner.run(settings, Health("projector"), VIEWS, share)


def say(what: object) -> None:
    """Tell the test."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main() -> None:
    """Fork on demand."""
    settings = Settings()
    decoder = asyncio.run(open_decoder(settings))

    async def at_hand(settings: Settings) -> Decoder:
        return decoder

    runner.open_decoder = at_hand  # type: ignore[attr-defined]  # asking the registry anew takes longer than the rest
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    say("ready")
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the test reads what the parent says, no log lines
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asyncio.run(project(settings, line.strip()))
        say(pid)


if __name__ == "__main__":
    main()
