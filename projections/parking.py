"""Keeping aside what a read model cannot take, so that the order of each key is kept and all other keys flow.

The same for the live fold and for a rebuild: give `Parking.take` the batches of one topic in their order, and a
function that brings a batch into the store together with what is to be kept aside.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from infra.kafka.records import Raw
from projections.batch import Batch, Unread
from projections.faults import Broken, Unfit
from projections.few import Few
from projections.parked import Known, Parked
from projections.view import Projection
from schemas.contracts import contracts
from schemas.envelope import Recorded
from schemas.errors import Problem
from schemas.position import Position
from schemas.profiles import UserErased
from schemas.upcast import UPCASTERS

UNREADABLE = "unreadable"
"""Code of a fault that has none of its own."""

Apply: TypeAlias = Callable[[Batch, Sequence[Parked]], Awaitable[None]]
"""Folds a batch and keeps events aside, both or neither. Raises Unfit when an event does not fit."""


class Told(Protocol):
    """Who is told of every event that a read model cannot take."""

    async def poisoned(self, event: Parked, raw: Raw | None) -> None:
        """It stands aside from now on; `raw` is the record when it is at hand with every byte and header."""
        ...


@dataclass(frozen=True)
class Quiet:
    """Nobody is told: a rebuild has no side effects."""

    async def poisoned(self, event: Parked, raw: Raw | None) -> None:
        """See `Told`."""


class Parking:
    """What one read model does not take of one topic.

    Args:
        known: what stands aside and what is left out already, where the fold begins.
        told: is told of each new poison event before it is kept.

    Attributes:
        keys: whose events wait.
    """

    def __init__(self, projection: Projection, known: Known, told: Told) -> None:
        self._projection = projection
        self._types = {event.AVRO for event in projection.reads}
        self._reads = tuple(event for event in projection.reads if event is not UserErased)
        self.keys = known.keys
        self._skipped = known.skipped
        self._told = told
        self._poison: dict[Position, Parked] = {}
        self._heard: set[Position] = set()

    async def take(self, batch: Batch, apply: Apply) -> None:
        """Bring a batch into the read model, with everything aside that has to be.

        After a fault of the store nothing is known: read `Known` again and begin with another `Parking`.

        Raises:
            Broken: the store refuses even a batch without events.
            whatever `apply` raises beside Unfit.
        """
        for part in self._parts(self._without_skipped(batch)):
            await self._bring(part, apply)

    def _without_skipped(self, batch: Batch) -> Batch:
        here = {(p, o) for p, o in self._skipped if p in batch.ends and batch.first[p] <= o < batch.ends[p]}
        return batch.without_places(here) if here else batch

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        """Pieces in none of which an event comes after a record of its key that cannot be read."""
        for one in batch.unread:
            if self._concerns(one) and self._is_followed(batch, one):
                end = {**batch.ends, one.raw.partition: one.raw.offset + 1}
                yield batch.below(end)
                batch = batch.beyond(end)
        yield batch

    def _is_followed(self, batch: Batch, one: Unread) -> bool:
        if one.raw.key in self.keys:
            return False  # all of the key waits anyway
        places = batch.of_keys([one.raw.key]).held.places()
        return any(partition == one.raw.partition and offset > one.raw.offset for partition, offset in places)

    async def _bring(self, batch: Batch, apply: Apply) -> None:
        held = self.keys
        free = self._free(batch, held)
        aside = self._aside(batch, held)
        for event in aside:
            if event.role == "poison":
                await self._tell(event, batch)
        try:
            await apply(free, aside)
        except Unfit as fault:
            await self._isolate(batch, free, fault, apply)
            return
        self.keys |= {event.key for event in aside}
        for event in aside:
            self._poison.pop(event.position, None)
            self._heard.discard(event.position)

    def _free(self, batch: Batch, held: Collection[str]) -> Batch:
        """What of a batch is folded: the events of other keys, and erasures.

        An erasure waits for nobody. It holds whatever comes before or after it, so no order is broken.
        """
        if not held:
            return batch
        waiting = batch.of_keys(held)
        erasures = {one.position for one in waiting.recorded((UserErased,))} - self._poison.keys()
        if not erasures:
            return batch.without_keys(held)
        passing = {(position.partition, position.offset) for position in erasures}
        return batch.without_places([place for place in waiting.held.places() if place not in passing])

    def _aside(self, batch: Batch, held: Collection[str]) -> list[Parked]:
        """What of a batch is to be kept aside while the events of these keys wait."""
        if not held and not batch.unread:
            return []
        rows = {
            event.position: Parked(event.position, event.meta.subject)
            for event in batch.of_keys(held).recorded(self._reads)
        }
        rows |= {position: event for position, event in self._poison.items() if _holds(batch, position)}
        keys = set(held)
        for one in batch.unread:
            if self._concerns(one):
                rows[one.raw.position] = _unread(one, waits=one.raw.key in keys)
                keys.add(one.raw.key)
        return [rows[position] for position in sorted(rows)]

    async def _isolate(self, batch: Batch, free: Batch, fault: Unfit, apply: Apply) -> None:
        """Halve a batch until the event that does not fit is alone; it is kept aside, and the others go on."""
        if len(free) > 1:
            for half in batch.halves():
                await self._bring(half, apply)
            return
        found = free.recorded((*self._reads, UserErased))
        if not found:
            raise Broken(f"{self._projection.name} cannot take even an empty batch: {fault}") from fault
        self._poison[found[0].position] = poison(found[0], fault)
        self.keys |= {found[0].meta.subject}
        await self._bring(batch, apply)

    async def _tell(self, event: Parked, batch: Batch) -> None:
        if event.position not in self._heard:
            await self._told.poisoned(event, _exact(batch, event.position))
            self._heard.add(event.position)

    def _concerns(self, one: Unread) -> bool:
        """Whether the read model is made of such records, as far as the headers tell what it is."""
        name = one.raw.header("ce_type").decode(errors="replace")
        return name in self._types or name in UPCASTERS or name not in contracts()


def poison(event: Recorded, fault: Exception) -> Parked:
    """An event that a read model cannot take. What is personal in it is left out of the cause."""
    return Parked(
        event.position, event.meta.subject, "poison", _code(fault), without_personal(_cause(fault), event.event), 1
    )


def unreadable(raw: Raw, fault: Exception) -> Parked:
    """A record that nobody can read."""
    return Parked(raw.position, raw.key, "poison", _code(fault), _cause(fault), 1)


def without_personal(cause: str, event: Any) -> str:
    """A cause in which personal values stand as their field's name; stores like to quote what they refuse."""
    personal = {name: getattr(event, name, None) for name in contracts()[event.AVRO].personal}
    for name, value in personal.items():
        for text in _texts(value):
            cause = cause.replace(text, f"<{name}>")
    return cause


def _texts(value: Any) -> list[str]:
    """Every text in a value, the longest first."""
    match value:
        case str():
            return [value] if value else []
        case Mapping():
            return sorted((text for one in value.values() for text in _texts(one)), key=len, reverse=True)
        case list() | tuple():
            return sorted((text for one in value for text in _texts(one)), key=len, reverse=True)
        case _:
            return []


def _holds(batch: Batch, position: Position) -> bool:
    first, end = batch.first.get(position.partition), batch.ends.get(position.partition)
    return first is not None and end is not None and first <= position.offset < end


def _exact(batch: Batch, position: Position) -> Raw | None:
    """The record with every byte and header, where the batch has it so."""
    records = batch.held.records if isinstance(batch.held, Few) else ()
    at_hand = (*(one.raw for one in batch.unread), *records)
    return next((raw for raw in at_hand if raw.position == position), None)


def _unread(one: Unread, *, waits: bool) -> Parked:
    return Parked(one.raw.position, one.raw.key) if waits else unreadable(one.raw, one.fault)


def _code(fault: Exception) -> str:
    return fault.code if isinstance(fault, Problem) else UNREADABLE


def _cause(fault: Exception) -> str:
    return str(fault) or repr(fault)
