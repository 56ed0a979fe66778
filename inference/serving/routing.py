"""What every answer needs and seldom changes: which version serves, the catalogue, what is popular. Kept in memory.

The read models are looked at a few times a second; only what has moved is read again. What is kept is replaced as a
whole, so that an answer is made from one state of it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import structlog
from prometheus_client import Gauge

from inference.artifact import Metadata
from inference.serving.candidates import popular
from inference.serving.lastgood import LastGood
from inference.serving.reads import Catalogue, Live, ReadModels
from infra.health import Health
from schemas.decisions import AsOf
from schemas.errors import Problem

MIN_POPULARITY_S = 1.0
"""Popularity moves with every interaction; it is read again at most this often, in seconds."""

SPARE = 5
"""A view that takes long to read is left alone for this many times as long."""

LIVE_VERSION = Gauge("retrace_live_version", "Version that this server asks.", ["model"])

log = structlog.get_logger()

Marks: TypeAlias = Mapping[str, tuple[AsOf, ...]]
"""By view, how far it has been folded."""

Prepare: TypeAlias = Callable[[Live], Awaitable[Metadata]]


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request for a model goes.

    Attributes:
        live: the version that serves.
        metadata: of its artifact.
        arm: of the experiment that chose it.
    """

    live: Live
    metadata: Metadata
    arm: str = "default"


EMPTY = Catalogue({}, {}, ())


@dataclass(frozen=True)
class World:
    """All that is kept.

    Attributes:
        routes: by model.
        routed: how far deployments had been folded.
        catalogue: facts about items.
        popular: items by how often they were met, most first.
        counted: how far interactions had been folded for `popular`.
        erased: people who are not answered any more.
        told: how far profiles had been folded for `erased`.
    """

    routes: Mapping[str, Route] = field(default_factory=dict)
    routed: tuple[AsOf, ...] = ()
    catalogue: Catalogue = EMPTY
    popular: tuple[tuple[str, float], ...] = ()
    counted: tuple[AsOf, ...] = ()
    erased: frozenset[str] = frozenset()
    told: tuple[AsOf, ...] = ()

    def route(self, model: str) -> Route | None:
        """Where a request goes; None when no version of the model serves. An experiment would choose here, by user."""
        return self.routes.get(model)


class Routing:
    """Keeps a `World` up to date.

    Args:
        reads: the read models.
        prepare: makes ready for a version and answers its artifact's metadata; raises a Problem when it cannot.
        poll_s: how often to look.
        last_good: forgets who is erased, or withdraws consent to personalisation.
    """

    def __init__(self, reads: ReadModels, prepare: Prepare, *, poll_s: float, last_good: LastGood) -> None:
        self.world = World()
        self._reads = reads
        self._prepare = prepare
        self._poll_s = poll_s
        self._last_good = last_good
        self._not_before: dict[str, float] = {}

    async def run(self, health: Health) -> None:
        """Look again and again, until cancelled. While nothing can be read the world stays as it is."""
        while True:
            try:
                await self.refresh()
                health.ok("read models")
            except Problem as problem:
                health.ok("read models", f"degraded, answering from memory: {problem.detail}")
            await asyncio.sleep(self._poll_s)

    async def refresh(self) -> None:
        """Read again what has moved; first what is small and cannot wait: whom to forget, and which versions serve.

        Raises:
            Unavailable: the read models cannot be read.
            Problem: an artifact cannot; that model's route stays as it was, and is looked at again next time.
        """
        marks = await self._reads.marks()
        faults: list[Problem] = []
        for step in (self._forget, self._reroute, self._read_catalogue, self._read_popularity):
            try:
                await step(marks)
            except Problem as problem:
                faults.append(problem)
        if faults:
            raise faults[0]

    async def _forget(self, marks: Marks) -> None:
        """Keep no answers for people who are erased or do not consent: those for bad times would use their history."""
        if not self._due("user_profile", marks, self.world.told):
            return
        started = time.monotonic()
        found = await self._reads.erased()
        kept = self._last_good.review()
        self._last_good.forget_all((found.people & kept) | await self._reads.refusing(kept - found.people))
        self.world = replace(self.world, erased=found.people, told=found.positions)
        self._spare("user_profile", started)  # not after a fault: it is tried again at once

    async def _reroute(self, marks: Marks) -> None:
        """Take the live versions; a route changes only when the artifact's metadata is here."""
        if not self._due("live_models", marks, self.world.routed):
            return
        found = await self._reads.live()
        routes = {model: route for model, route in self.world.routes.items() if model in found.versions}
        faults: list[Problem] = []
        for model, live in found.versions.items():
            if model not in routes or routes[model].live != live:
                try:
                    routes[model] = Route(live, await self._prepare(live))
                    log.info("route changed", model=model, version=live.version, deployment_id=live.deployment_id)
                except Problem as problem:
                    faults.append(problem)
        self.world = replace(self.world, routes=routes, routed=self.world.routed if faults else found.positions)
        for model, route in routes.items():
            LIVE_VERSION.labels(model).set(route.live.version)
        if faults:
            raise faults[0]

    async def _read_catalogue(self, marks: Marks) -> None:
        if not self._due("catalogue", marks, self.world.catalogue.positions):
            return
        started = time.monotonic()
        try:
            self.world = replace(self.world, catalogue=await self._reads.catalogue())
        finally:
            self._spare("catalogue", started)

    async def _read_popularity(self, marks: Marks) -> None:
        if not self._due("popularity", marks, self.world.counted):
            return
        started = time.monotonic()
        try:
            found = await self._reads.popularity()
            self.world = replace(self.world, popular=tuple(popular(found.counts)), counted=found.positions)
        finally:
            self._spare("popularity", started, MIN_POPULARITY_S)

    def _due(self, view: str, marks: Marks, known: tuple[AsOf, ...]) -> bool:
        return marks.get(view, ()) != known and time.monotonic() >= self._not_before.get(view, 0)

    def _spare(self, view: str, started: float, at_least_s: float = 0.0) -> None:
        """Leave a view alone for some time, the longer the longer reading it took."""
        now = time.monotonic()
        self._not_before[view] = now + max(at_least_s, SPARE * (now - started))
