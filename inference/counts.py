"""How often each item had been met at some place of the log, counted from the log itself."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inference.reading import Way
from infra.kafka.records import Decoder
from infra.kafka.replay import replay
from infra.settings import Settings
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange


@dataclass(frozen=True)
class Counted:
    """How often each item had been met, and how that was found."""

    items: dict[str, int]
    ways: tuple[Way, ...]


class Counts:
    """Counts interactions by item, as the read model `popularity` does.

    An id that a client chose counts once for each user.
    """

    def __init__(self, settings: Settings, decoder: Decoder) -> None:
        self._settings = settings
        self._decoder = decoder

    async def at(self, ranges: Sequence[OffsetRange], *, kept: bool = True) -> Counted:
        """The counts of exactly these ranges, which begin where the log does.

        Raises:
            Invalid: a range is no part of the log as it stands.
            Incompatible: an event cannot be read.
            Unavailable: the brokers or the registry do not answer.
        """
        counts: Counter[str] = Counter()
        seen: set[tuple[str, str]] = set()
        async for tables in replay(self._settings, self._decoder, ranges, types={InteractionRecorded.AVRO}):
            for table in tables.values():
                ids, users, items = (table[name].to_list() for name in ("_id", "user_id", "item_id"))
                counts.update(_first(ids, users, items, seen))
        ways = tuple(Way(r.topic, r.partition, r.first, r.end, read=r.end - r.first) for r in ranges)
        return Counted(dict(counts), ways)


def _first(ids: Sequence[str], users: Sequence[str], items: Sequence[str], seen: set[tuple[str, str]]) -> Iterable[str]:
    """The items of those events whose id comes for the first time from their user, as the read models count."""
    for one, user, item in zip(ids, users, items, strict=True):
        if (one, user) not in seen:
            if one[14] == "5":  # ids of our own making, UUIDv7, cannot come again
                seen.add((one, user))
            yield item
