"""`retrace replay` with small parts and pauses, as a process of its own, for a test that kills it.

python replayslowly.py FORMAT OUT
"""

import sys
import time

import console.export.folder
import console.export.stream
from console.__main__ import main
from console.export.pace import Pace

SLICE, UNIT = 100, 300
STANDS_AT = 1_200
"""Behind so many offsets it stands still, for as long as the test may take to kill it."""


def _slowly(pace: Pace, offsets: int) -> None:
    pace._done += offsets
    time.sleep(0.1 if pace._done < STANDS_AT else 600)


if __name__ == "__main__":
    format, out = sys.argv[1:]
    for module, name, value in (
        (console.export.stream, "SLICE", SLICE),
        (console.export.folder, "SLICE", SLICE),
        (console.export.folder, "UNIT", UNIT),
        (console.export.stream, "KEPT_EVERY_S", 0),
        (Pace, "passed", _slowly),
    ):
        setattr(module, name, value)
    sys.argv[1:] = ["replay", "--topic", "interactions", "--format", format, "--out", out, "--workers", "2"]
    main()
