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


def _slowly(pace: Pace, offsets: int) -> None:
    time.sleep(0.1)


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
