"""Looking at what the services say of themselves while something is wrong with them."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NoReturn

import aiohttp
import orjson

EVERY_S = 0.4
IN_DOUBT = re.compile(r'^retrace_decided_batches_in_doubt_total\{[^}]*why="(\w+)"\} ([\d.]+)', re.MULTILINE)


class Watch:
    """Reads health and metrics again and again.

    Args:
        urls: of the services, by name.
        fault: what is being done to them now.

    Attributes:
        seen: what was said to be wrong, by fault: service and component.
        in_doubt: batches that each service said were void or not acknowledged, at most, by service and why.
    """

    def __init__(self, urls: Mapping[str, str], fault: Callable[[], str]) -> None:
        self._urls = urls
        self._fault = fault
        self.seen: dict[str, set[str]] = defaultdict(set)
        self.in_doubt: dict[tuple[str, str], float] = defaultdict(float)

    async def run(self) -> NoReturn:
        """For ever."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=EVERY_S)) as http:
            while True:
                await asyncio.gather(*(self._look(http, name, url) for name, url in self._urls.items()))
                await asyncio.sleep(EVERY_S)

    async def _look(self, http: aiohttp.ClientSession, name: str, url: str) -> None:
        fault, role = self._fault(), name.rpartition("-")[0] or name
        try:
            async with http.get(f"{url}/health/ready") as answer:
                components = orjson.loads(await answer.read())["components"]
            async with http.get(f"{url}/metrics") as answer:
                metrics = await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError):
            self.seen[fault].add(f"{role} does not answer")
            return
        self.seen[fault] |= {f"{role}: {_kind(part)}" for part, said in components.items() if not said["ok"]}
        for why, count in IN_DOUBT.findall(metrics):
            self.in_doubt[name, why] = max(self.in_doubt[name, why], float(count))


def _kind(component: str) -> str:
    """A component without the partition in its name."""
    return "a partition" if "/" in component else component
