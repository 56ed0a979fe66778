"""Reading everything that a report needs, once, each topic as a stream."""

from collections.abc import Mapping
from dataclasses import dataclass

from inference.report.activity import Activity
from inference.report.answers import Answers
from inference.report.catalogue import Catalogue
from inference.report.letters import Letters
from inference.report.people import TYPES, People
from inference.report.rollouts import Rollouts, during
from inference.report.scope import Scope
from inference.report.versions import Registry
from infra.kafka.records import Decoder
from infra.kafka.replay import Report, recorded, replay
from infra.settings import Settings
from schemas.decisions import RecommendationServed
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange


@dataclass(frozen=True)
class Material:
    """What the log says of a period."""

    scope: Scope
    rollouts: Rollouts
    registry: Registry
    people: People
    catalogue: Catalogue
    answers: Answers
    activity: Activity
    letters: Letters

    def models(self) -> list[str]:
        """Every model that is known or was asked for."""
        asked = {str(model) for model, _ in self.answers.items} | {
            str(key[1]) for key in self.answers.tally.totals() if key[0] == "source"
        }
        return sorted({*self.rollouts.models(), *self.registry.models(), *asked})


class Reading:
    """Reads topics one after another.

    Every method raises Invalid when its part is no longer in the log, Incompatible when an event cannot be read, and
    Unavailable when brokers or registry do not answer.

    Args:
        report: is told how far reading has come, over all topics.
    """

    def __init__(self, settings: Settings, decoder: Decoder, scope: Scope, report: Report | None = None) -> None:
        self._settings = settings
        self._decoder = decoder
        self._report = report
        self.scope = scope

    async def rollouts(self) -> Rollouts:
        """The deployments from the first on: what served at the begin of a period was decided before it."""
        found = Rollouts()
        async for one in recorded(self._settings, self._decoder, self.scope.up_to("deployments")):
            found.hear(one)
        return found

    async def registry(self) -> Registry:
        """The runs and versions from the first on."""
        found = Registry()
        async for one in recorded(self._settings, self._decoder, self.scope.up_to("models")):
            found.hear(one)
        return found

    async def people(self) -> People:
        """Consents and erasures from the first on."""
        found = People(self.scope)
        async for tables in replay(self._settings, self._decoder, self.scope.up_to("profiles"), types=TYPES):
            found.take(tables)
        return found

    async def catalogue(self) -> Catalogue:
        """The items."""
        events = recorded(self._settings, self._decoder, self.scope.up_to("catalog"))
        return await Catalogue().hear_all(events)

    async def letters(self) -> Letters:
        """The dead letters of the period."""
        found = Letters(self.scope)
        async for one in recorded(self._settings, self._decoder, self.scope.during("dead-letters")):
            found.hear(one)
        return found

    async def answers(self, people: People, catalogue: Catalogue, model: str | None) -> Answers:
        """The answers of the period."""
        found = Answers(people, catalogue.categories(), model)
        served = {RecommendationServed.AVRO}
        async for tables in replay(self._settings, self._decoder, self.scope.lead_in, types=served):
            for table in tables.values():
                found.sequences.take(table, lead_in=True)
        ranges = self.scope.during("decisions")
        async for tables in replay(self._settings, self._decoder, ranges, types=served, report=self._report):
            for table in tables.values():
                found.take(table)
        return found

    async def activity(self, trained: Mapping[str, tuple[OffsetRange, ...]], *, people: bool = False) -> Activity:
        """What people did in the period and in the parts that were trained on."""
        found = Activity(self.scope, trained, people=people)
        wanted = {InteractionRecorded.AVRO}
        ranges = found.ranges()
        async for tables in replay(self._settings, self._decoder, ranges, types=wanted, report=self._report):
            for table in tables.values():
                found.take(table)
        return found


async def gather(reading: Reading, model: str | None) -> Material:
    """Everything about a period, or about one model in it.

    Raises:
        as the methods of `Reading`.
    """
    rollouts, registry = await reading.rollouts(), await reading.registry()
    people, catalogue = await reading.people(), await reading.catalogue()
    answers = await reading.answers(people, catalogue, model)
    activity = await reading.activity(trained(reading.scope, rollouts, registry, model))
    return Material(reading.scope, rollouts, registry, people, catalogue, answers, activity, await reading.letters())


def trained(
    scope: Scope, rollouts: Rollouts, registry: Registry, model: str | None
) -> dict[str, tuple[OffsetRange, ...]]:
    """By model, the data behind the version that served last in the period."""
    found: dict[str, tuple[OffsetRange, ...]] = {}
    for name in [model] if model else rollouts.models():
        served = during(rollouts.servings(name), scope.since, scope.until)
        version = registry.versions.get((name, served[-1].version)) if served else None
        if version is not None:
            found[name] = version.run.ranges
    return found
