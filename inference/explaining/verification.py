"""Many decisions made again, one after another: whether those of a period, or a sample of them, are what they were."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from inference.explaining.explain import Explainer
from inference.explaining.rebuild import DECISIONS
from inference.explaining.statement import verdict
from infra.kafka.fetch import open_client
from infra.kafka.pick import pick
from infra.kafka.ranges import ranges_between
from infra.kafka.records import Decoder
from infra.kafka.replay import recorded
from infra.settings import Settings
from schemas.decisions import RecommendationServed
from schemas.envelope import Recorded
from schemas.errors import Gone, Problem
from schemas.models import OffsetRange

ERASED = "erased"
SHOWN = 20
"""Decisions that are not identical and are told of one by one."""


@dataclass(frozen=True)
class Checked:
    """What came of one decision.

    Attributes:
        verdict: as `statement.verdict`, or `erased`: of somebody who was erased nothing is said any more.
        why: the first difference, or why it could not be made again.
    """

    decision_id: str
    position: str
    source: str
    verdict: str
    why: str = ""


@dataclass
class Tally:
    """What came of all.

    Attributes:
        verdicts: how many decisions had each verdict.
        sources: how many of each source were identical.
        faults: the first of those that were not identical.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    faults: list[Checked] = field(default_factory=list)

    def add(self, one: Checked) -> None:
        """Count a decision."""
        self.verdicts[one.verdict] += 1
        if one.verdict == "identical":
            self.sources[one.source] += 1
        elif one.verdict != ERASED and len(self.faults) < SHOWN:
            self.faults.append(one)

    @property
    def checked(self) -> int:
        """Decisions that were looked at and are not of the erased."""
        return self.verdicts.total() - self.verdicts[ERASED]

    @property
    def identical(self) -> bool:
        """Whether there were some, and every one was made again and is the same in everything."""
        return 0 < self.checked == self.verdicts["identical"]


async def decisions(
    settings: Settings, decoder: Decoder, ranges: Sequence[OffsetRange], sample: int | None, seed: int
) -> AsyncIterator[Recorded]:
    """The decisions in these ranges, in log order; or some of them, the same for the same seed.

    Raises:
        Incompatible: a record cannot be read.
        Unavailable: the brokers do not answer.
    """
    total = sum(part.end - part.first for part in ranges)
    if sample is None or sample >= total:
        async for one in recorded(settings, decoder, ranges):
            if isinstance(one.event, RecommendationServed):
                yield one
        return
    chosen = sorted(random.Random(seed).sample(range(total), sample))
    async with open_client(settings, [DECISIONS]) as client:
        for part in ranges:
            length = part.end - part.first
            mine = [part.first + number for number in chosen if number < length]
            chosen = [number - length for number in chosen if number >= length]
            raws = await pick(client, settings, DECISIONS, part.partition, mine)
            await decoder.learn(raws)
            for raw in raws:
                if raw.tenant == settings.tenant and (found := decoder.decode(raw)) is not None:
                    yield found


async def verified(
    settings: Settings,
    decoder: Decoder,
    since: datetime | None,
    until: datetime | None,
    *,
    sample: int | None = None,
    seed: int = 0,
    indexed: bool = True,
) -> AsyncIterator[Checked]:
    """Each decision that came to the log from `since` on and before `until`, made again.

    Args:
        sample: so many of them, chosen at random; None for all.
        seed: of that choice.
        indexed: as `Explainer.explain`.

    Raises:
        Incompatible: a record of a decision cannot be read.
        Unavailable: brokers, registry or artifact store do not answer.
    """
    explainer = Explainer(settings, decoder)
    ranges = await ranges_between(settings, [DECISIONS], since, until)
    async for one in decisions(settings, decoder, ranges, sample, seed):
        yield await _checked(explainer, one, indexed=indexed)


async def _checked(explainer: Explainer, one: Recorded, *, indexed: bool) -> Checked:
    named = (one.event.decision_id, str(one.position), one.event.source)
    try:
        explanation = await explainer.again(one.event, one.position, indexed=indexed)
    except Gone:
        return Checked(*named, ERASED)
    except Problem as problem:
        if problem.retriable:
            raise
        return Checked(*named, "not_verified", problem.detail)
    return Checked(*named, verdict(explanation), next(iter(explanation.differences), ""))
