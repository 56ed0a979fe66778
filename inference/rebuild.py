"""What was known when a decision was made, folded from the log up to the positions that the decision recorded."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from inference.dataset import INTERACTIONS, PROFILES
from inference.inputs import Interaction, Item, Profile, evolve_item, evolve_profile, history
from infra.kafka.partitioner import partition_of
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import recorded, replay
from infra.settings import Settings
from schemas.catalog import CatalogEvent, ItemAdded, ItemChanged
from schemas.contracts import contracts
from schemas.decisions import AsOf, RecommendationServed
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import UserErased

CATALOG = "catalog"


@dataclass(frozen=True)
class Known:
    """A user as known at a decision.

    Attributes:
        history: item ids, oldest first; empty without consent to personalisation.
    """

    history: tuple[str, ...]
    profile: Profile


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
    """

    def __init__(self, settings: Settings, decoder: Decoder) -> None:
        self._settings = settings
        self._decoder = decoder

    async def user(self, decision: RecommendationServed) -> Known:
        """The user's history and profile."""
        profile = Profile()
        profiles = up_to(decision.positions, "user_profile", PROFILES)
        async for one in recorded(self._settings, self._decoder, profiles, keys=[decision.user_id]):
            if not contracts()[one.event.AVRO].is_outcome:
                profile = evolve_profile(profile, one.event)
        rows = [
            Interaction(one.event.item_id, one.event.kind, one.event.occurred_at, one.position.offset, one.meta.id)
            async for one in recorded(
                self._settings,
                self._decoder,
                up_to(decision.positions, "user_history", INTERACTIONS),
                keys=[decision.user_id],
            )
        ]
        return Known(history(rows, profile), profile)

    async def erased(self, user_id: str) -> bool:
        """Whether the user has been erased by now, whatever was known when a decision was made."""
        ranges = await ranges_now(self._settings, {PROFILES})
        own = [part for part in ranges if part.partition == partition_of(user_id, len(ranges))]
        found = recorded(self._settings, self._decoder, own, keys=[user_id])
        return any([isinstance(one.event, UserErased) async for one in found])

    async def shelf(self, decision: RecommendationServed, items: Collection[str]) -> Shelf:
        """What the catalogue said about these items."""
        found: dict[str, Item] = {}
        titles: dict[str, str] = {}
        ranges = up_to(decision.positions, "catalogue", CATALOG)
        async for one in recorded(self._settings, self._decoder, ranges, keys=items):
            if contracts()[one.event.AVRO].is_outcome:
                continue
            event: CatalogEvent = one.event
            found[event.item_id] = evolve_item(found.get(event.item_id, Item()), event)
            if isinstance(event, ItemAdded | ItemChanged) and event.title is not None:
                titles[event.item_id] = event.title
        return Shelf(found, titles)

    async def popularity(self, decision: RecommendationServed) -> dict[str, int]:
        """How often each item had been met; an id that a client chose counts once for each user."""
        counts: Counter[str] = Counter()
        seen: set[tuple[str, str]] = set()
        ranges = up_to(decision.positions, "popularity", INTERACTIONS)
        async for tables in replay(self._settings, self._decoder, ranges, types={InteractionRecorded.AVRO}):
            for table in tables.values():
                ids, users, items = (table[name].to_list() for name in ("_id", "user_id", "item_id"))
                counts.update(_first(ids, users, items, seen))
        return dict(counts)

    async def decision(
        self, ranges: Sequence[OffsetRange], decision_id: str
    ) -> tuple[RecommendationServed, str] | None:
        """The record of a decision and its position, when it stands in these ranges."""
        async for one in recorded(self._settings, self._decoder, ranges):
            if isinstance(one.event, RecommendationServed) and one.event.decision_id == decision_id:
                return one.event, str(one.position)
        return None


def _first(ids: Sequence[str], users: Sequence[str], items: Sequence[str], seen: set[tuple[str, str]]) -> Iterable[str]:
    """The items of those events whose id comes for the first time from their user, as the read models count."""
    for one, user, item in zip(ids, users, items, strict=True):
        if (one, user) not in seen:
            if one[14] == "5":  # ids of our own making, UUIDv7, cannot come again
                seen.add((one, user))
            yield item
