"""Looking at what the services say of themselves while something is wrong with them."""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn

import aiohttp
import orjson

EVERY_S = 0.4
PATIENCE = aiohttp.ClientTimeout(total=1)
SLOW_S = 0.1
IN_DOUBT = re.compile(r'^retrace_decided_batches_in_doubt_total\{[^}]*why="(\w+)"\} ([\d.e+]+)', re.MULTILINE)
QUICK = re.compile(rf'^retrace_decided_append_seconds_bucket\{{le="{SLOW_S}"[^}}]*\}} ([\d.e+]+)', re.MULTILINE)
APPENDS = re.compile(r"^retrace_decided_append_seconds_count\{[^}]*\} ([\d.e+]+)", re.MULTILINE)
SLOW = "slow appends"


class Watch:
    """Reads health and metrics again and again.

    Args:
        urls: of the services, by name.
        fault: what is being done to them now.

    Attributes:
        seen: what was said to be wrong, by fault: service and component, or the metric that rose.
        counted: batches that the services said were void (overtaken), not acknowledged (unknown), or slow.
        rounds: how often everybody was looked at.
    """

    def __init__(self, urls: Mapping[str, str], fault: Callable[[], str]) -> None:
        self._urls = urls
        self._fault = fault
        self.seen: dict[str, set[str]] = defaultdict(set)
        self.counted: Counter[str] = Counter()
        self.rounds = 0
        self._counters: dict[tuple[str, str], float] = {}
        self._owned: dict[str, frozenset[str]] = {}

    async def run(self) -> NoReturn:
        """For ever."""
        async with aiohttp.ClientSession(timeout=PATIENCE) as http:
            while True:
                await asyncio.gather(*(self._look(http, name, url) for name, url in self._urls.items()))
                self.rounds += 1
                await asyncio.sleep(EVERY_S)

    def own(self, partitions: Collection[str], *, besides: str) -> bool:
        """Whether the others own and serve all of these partitions, as they said last."""
        owned = frozenset[str]().union(*(held for name, held in self._owned.items() if name != besides))
        return owned.issuperset(partitions)

    async def _look(self, http: aiohttp.ClientSession, name: str, url: str) -> None:
        fault, role = self._fault(), name.rpartition("-")[0] or name
        try:
            async with http.get(f"{url}/health/ready") as answer:
                components: dict[str, Any] = orjson.loads(await answer.read())["components"]
            async with http.get(f"{url}/metrics") as answer:
                metrics = await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError):
            self._owned.pop(name, None)
            self.seen[fault].add(f"{role} does not answer")
            return
        self._owned[name] = frozenset(part for part, said in components.items() if "/" in part and said["ok"])
        self.seen[fault] |= {f"{role}: {_kind(part)}" for part, said in components.items() if not said["ok"]}
        self.seen[fault] |= {f"{role}: {_said(why)}" for why in self._risen(name, _counters(metrics))}

    def _risen(self, name: str, now: Mapping[str, float]) -> set[str]:
        """The counters that are higher than before; those of a new process begin at nothing."""
        risen = set()
        for counter, value in now.items():
            before = self._counters.get((name, counter), 0)
            more = value - before if value >= before else value
            self._counters[name, counter] = value
            if more > 0:
                risen.add(counter)
                self.counted[counter] += int(more)
        return risen


def _counters(metrics: str) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for why, count in IN_DOUBT.findall(metrics):
        found[why] += float(count)
    slow = sum(map(float, APPENDS.findall(metrics))) - sum(map(float, QUICK.findall(metrics)))
    return {**found, SLOW: slow}


def _said(counter: str) -> str:
    return SLOW if counter == SLOW else f"a batch {counter}"


def _kind(component: str) -> str:
    """A component without the partition in its name."""
    return "a partition" if "/" in component else component
