"""Examples of the answers about training runs."""

from collections.abc import Mapping
from typing import Any

NOON = "2026-01-31T12:00:00+00:00"
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
UUID = "01a1fc5f-5f15-7794-a525-9816738f4960"

RUN: Mapping[str, Any] = {
    "run_id": "run-3",
    "model": "movies",
    "algorithm": "ease",
    "params": {"l2": "500"},
    "k": 100,
    "status": "completed",
    "ranges": [{"topic": "interactions", "partition": 0, "first": 0, "end": 25021}],
    "dataset_sha256": SHA,
    "dataset_rows": 25021,
    "duplicates": 0,
    "artifact_sha256": SHA,
    "artifact_bytes": 11310080,
    "metrics": {"recall@10": 0.31},
    "duration_s": 4.2,
    "reason": None,
    "requested_at": NOON,
    "updated_at": NOON,
    "attempt": 1,
    "requested_by": "ana",
    "since": NOON,
    "waits_for": None,
    "ahead": None,
    "started_at": NOON,
    "ended_at": NOON,
    "worker": "trainer-1/4711",
    "slot": 0,
    "step": "storing",
    "done": 0,
    "total": 0,
    "percent": 100.0,
    "eta_s": 0.0,
    "progress_at": NOON,
    "dataset": {
        "silent_kinds": ["skip"],
        "silent": 3,
        "withdrawn": 0,
        "erased": 0,
        "erasures": [{"topic": "profiles", "partition": 0, "first": 0, "end": 240}],
    },
    "manifest": {"format": 3, "rows": 25021, "sha256": SHA},
    "resources": {
        "attempt": 1,
        "cpu_s": 3.9,
        "wall_s": 4.2,
        "peak_memory_bytes": 412000000,
        "bytes_read": 5100000,
        "gpu": None,
        "gpu_peak_memory_bytes": None,
    },
}

EXAMPLES: Mapping[str, Any] = {
    "TrainingRun": RUN,
    "TrainingStep": {
        "name": "started",
        "attempt": 1,
        "at": NOON,
        "actor": "trainer",
        "correlation_id": "request-1",
        "event_id": UUID,
        "details": {"worker": "trainer-1/4711", "slot": 0},
        "position": "models/1/7",
    },
}
