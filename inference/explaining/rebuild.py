"""What was known when a decision was made, folded from the log up to the positions that the decision recorded."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from inference.counting.near import Row
from inference.counting.scratch import rows_of, silence
from inference.counting.table import VIEW as CO_OCCURRENCE
from inference.datasets.dataset import INTERACTIONS, PROFILES
from inference.explaining.counts import Counts
from inference.explaining.followers import Followers
from inference.inputs import Interaction, Item, Profile, evolve_item, evolve_profile, history, spoken
from infra.index.reading import Reading, Way
from infra.kafka.fetch import open_client
from infra.kafka.partitioner import partition_of
from infra.kafka.pick import pick
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import recorded
from infra.settings import Settings
from schemas.catalog import CatalogEvent, ItemAdded, ItemChanged
from schemas.contracts import contracts
from schemas.decisions import AsOf, RecommendationServed
from schemas.envelope import Recorded
from schemas.models import OffsetRange
from schemas.position import Position
from schemas.profiles import UserErased

CATALOG, DECISIONS = "catalog", "decisions"


@dataclass(frozen=True)
class Known:
    """A user as known at a decision.

    Attributes:
        partition: of the user's interactions.
        interactions: all of the user's, in the order of the log.
    """

    partition: int
    interactions: tuple[Interaction, ...]
    profile: Profile

    @cached_property
    def history(self) -> tuple[str, ...]:
        """Item ids, oldest first; empty without consent to personalisation."""
        return history(self.interactions, self.profile)

    @cached_property
    def places(self) -> dict[str, Interaction]:
        """The interaction that each item of the history counts for: its newest."""
        return {row.item_id: row for row in spoken(self.interactions)}

    def without(self, rows: Iterable[Interaction]) -> "Known":
        """The same, had these interactions not happened, under whatever place they came again."""
        gone = {row.event_id for row in rows}
        return replace(self, interactions=tuple(row for row in self.interactions if row.event_id not in gone))

    def position(self, row: Interaction) -> Position:
        """Where an interaction stands."""
        return Position(INTERACTIONS, self.partition, row.offset)


@dataclass(frozen=True)
class Shelf:
    """The items that bear on a decision, as known then."""

    items: dict[str, Item]
    titles: dict[str, str]


def up_to(positions: Iterable[AsOf], view: str, topic: str) -> list[OffsetRange]:
    """The part of the log that a read model had folded; nothing where it had not begun, or could not be read."""
    return [
        OffsetRange(topic=topic, partition=p.partition, first=0, end=p.next_offset)
        for p in positions
        if p.view == view and p.topic == topic
    ]


class Log:
    """The log, read for one explanation.

    Every method raises Invalid when the part it needs is no longer there, Incompatible when an event cannot be read,
    and Unavailable when the brokers do not answer.

    Args:
        counts: how often items had been met.
        followers: what followed items.

    Attributes:
        indexed: whether an index may say where to look; without it every part is read whole.
    """

    def __init__(
        self, settings: Settings, decoder: Decoder, counts: Counts, followers: Followers, *, indexed: bool = True
    ) -> None:
        self._settings = settings
        self._decoder = decoder
        self._counts = counts
        self._followers = followers
        self.indexed = indexed
        self._reading = Reading(settings, decoder, indexed=indexed)

    @property
    def ways(self) -> tuple[Way, ...]:
        """How every part was read so far."""
        return tuple(self._reading.ways)

    async def user(self, decision: RecommendationServed) -> Known:
        """The user's history and profile."""
        profile = Profile()
        profiles = up_to(decision.positions, "user_profile", PROFILES)
        for one in await self._reading.of_keys(profiles, [decision.user_id]):
            if not contracts()[one.event.AVRO].is_outcome:
                profile = evolve_profile(profile, one.event)
        ranges = up_to(decision.positions, "user_history", INTERACTIONS)
        rows = tuple(map(_interaction, await self._reading.of_keys(ranges, [decision.user_id])))
        return Known(ranges[0].partition if ranges else 0, rows, profile)

    async def erased(self, user_id: str) -> bool:
        """Whether the user has been erased by now, whatever was known when a decision was made."""
        ranges = await ranges_now(self._settings, {PROFILES})
        own = [part for part in ranges if part.partition == partition_of(user_id, len(ranges))]
        return any(isinstance(one.event, UserErased) for one in await self._reading.of_keys(own, [user_id]))

    async def shelf(self, decision: RecommendationServed, items: Collection[str]) -> Shelf:
        """What the catalogue said about these items."""
        found: dict[str, Item] = {}
        titles: dict[str, str] = {}
        ranges = up_to(decision.positions, "catalogue", CATALOG)
        for one in await self._reading.of_keys(ranges, items):
            if contracts()[one.event.AVRO].is_outcome:
                continue
            event: CatalogEvent = one.event
            found[event.item_id] = evolve_item(found.get(event.item_id, Item()), event)
            if isinstance(event, ItemAdded | ItemChanged) and event.title is not None:
                titles[event.item_id] = event.title
        return Shelf(found, titles)

    async def popularity(self, decision: RecommendationServed) -> dict[str, int]:
        """How often each item had been met; an id that a client chose counts once for each user."""
        ranges = up_to(decision.positions, "popularity", INTERACTIONS)
        counted = await self._counts.at(ranges, kept=self.indexed)
        self._reading.ways += counted.ways
        return counted.items

    async def followers(
        self, decision: RecommendationServed, items: Collection[str], left_out: Iterable[Position] = ()
    ) -> dict[str, Row]:
        """What followed these items, without some interactions."""
        profiles, ranges = (up_to(decision.positions, CO_OCCURRENCE, topic) for topic in (PROFILES, INTERACTIONS))
        gone = {(place.partition, place.offset) for place in left_out}
        if self.indexed:
            counted = await self._followers.at([*profiles, *ranges], items, gone)
            self._reading.ways += counted.ways
            return counted.rows
        silent = await silence(self._settings, self._decoder, profiles)
        self._reading.ways += [Way(r.topic, r.partition, r.first, r.end, read=r.end) for r in (*profiles, *ranges)]
        return await rows_of(self._settings, self._decoder, ranges, items, silent=silent.users, gone=gone)

    async def decision_at(self, position: Position, decision_id: str) -> RecommendationServed | None:
        """The record of a decision, when it stands there."""
        async with open_client(self._settings, [DECISIONS]) as client:
            raws = await pick(client, self._settings, DECISIONS, position.partition, [position.offset])
        await self._decoder.learn(raws)
        found = [event for raw in raws if (event := self._decoder.decode(raw)) is not None]
        return found[0].event if found and _is(found[0], decision_id) else None

    async def decision(
        self, ranges: Iterable[OffsetRange], decision_id: str
    ) -> tuple[RecommendationServed, Position] | None:
        """The record of a decision and its position, when it stands in these ranges."""
        async for one in recorded(self._settings, self._decoder, ranges):
            if _is(one, decision_id):
                return one.event, one.position
        return None


def _is(one: Recorded, decision_id: str) -> bool:
    return isinstance(one.event, RecommendationServed) and one.event.decision_id == decision_id


def _interaction(one: Recorded) -> Interaction:
    event = one.event
    return Interaction(event.item_id, event.kind, event.occurred_at, one.position.offset, one.meta.id)
