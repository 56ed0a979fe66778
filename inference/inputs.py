"""What a recommendation is made from: folded by serving from read models, and by explanation from the log itself.

Both build the same values with the same pure functions, so that an explanation compares like with like.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from inference.artifact import Metadata
from inference.history import known
from inference.interactions import Float32Array, Int32Array
from schemas.catalog import CatalogEvent, ItemAdded, ItemChanged, ItemRetired
from schemas.profiles import (
    ConsentGiven,
    ConsentWithdrawn,
    PersonalDataDestroyed,
    PreferencesChanged,
    ProfilesEvent,
    UserErased,
    UserRegistered,
)

HISTORY_ROWS = 4096
"""Newest interactions of a user that are looked at."""

SILENT_KINDS = frozenset({"skip"})
"""Kinds of interaction that do not speak for an item: neither history nor training data."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """One row of `user_history`.

    Attributes:
        offset: its offset in the partition of its user.
        event_id: its `ce_id`; an id that comes again counts once, where it came first.
    """

    item_id: str
    kind: str
    occurred_at: datetime
    offset: int
    event_id: UUID


@dataclass(frozen=True, slots=True)
class Profile:
    """What a user allows and refuses; the defaults are those of a user nobody has heard of.

    Attributes:
        hidden_categories: never to be recommended.
        personalisation: whether the history may be used for the answer.
        training: whether the history may be used for fitting models.
        favourite_categories: asked for.
    """

    hidden_categories: frozenset[str] = frozenset()
    personalisation: bool = True
    training: bool = True
    favourite_categories: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Item:
    """What the catalogue says about an item that bears on answering it."""

    categories: frozenset[str] = frozenset()
    retired: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class ModelInput:
    """The tensors given to a model, and what they stand for.

    Attributes:
        items: the item ids among the history that the model knows, oldest first.
        ids: signature input `history`, shape (1, L).
        weights: signature input `weights`, shape (1, L).
    """

    items: tuple[str, ...]
    ids: Int32Array
    weights: Float32Array

    @property
    def sha256(self) -> str:
        """As it is recorded in `RecommendationServed.history_sha256`."""
        return history_sha256(self.items, self.weights[0, : len(self.items)].tolist())


def history(interactions: Iterable[Interaction], profile: Profile) -> tuple[str, ...]:
    """Item ids of a user's history, oldest first by the time they happened and then by offset.

    The newest `HISTORY_ROWS` are kept. Nothing when the user has withdrawn consent to personalisation. In SQL over
    `user_history` this is `WHERE kind <> 'skip' ORDER BY occurred_at DESC, "offset" DESC LIMIT 4096`, turned around.
    """
    return tuple(row.item_id for row in spoken(interactions)[-HISTORY_ROWS:]) if profile.personalisation else ()


def spoken(interactions: Iterable[Interaction]) -> list[Interaction]:
    """The interactions that speak for an item, each once, oldest first by the time they happened, then by offset."""
    first: dict[UUID, Interaction] = {}
    for row in sorted(interactions, key=lambda row: row.offset):
        first.setdefault(row.event_id, row)
    kept = (row for row in first.values() if row.kind not in SILENT_KINDS)
    return sorted(kept, key=lambda row: (row.occurred_at, row.offset))


def model_input(items: Sequence[str], metadata: Metadata) -> ModelInput:
    """What the artifact with this metadata is given for a history, oldest first."""
    ids, weights = metadata.encode(items)
    return ModelInput(tuple(metadata.items[i] for i in known(items, metadata.index)), ids, weights)


def history_sha256(items: Sequence[str], weights: Sequence[float] = ()) -> str:
    """Hash of the ids and weights given to a model, in their order.

    An answer that no model made (popular, last good, none) records its bare history without weights.
    """
    digest = hashlib.sha256(struct.pack("<ii", len(items), len(weights)))
    for item in items:
        text = item.encode()
        digest.update(struct.pack("<i", len(text)) + text)
    digest.update(struct.pack(f"<{len(weights)}f", *weights))
    return digest.hexdigest()


def evolve_profile(profile: Profile, event: ProfilesEvent) -> Profile:
    """The profile after one more event of its user."""
    match event:
        case UserRegistered() | PersonalDataDestroyed():
            return profile
        case PreferencesChanged(hidden_categories=hidden, favourite_categories=favourite):
            return replace(profile, hidden_categories=frozenset(hidden), favourite_categories=frozenset(favourite))
        case ConsentGiven(purpose=purpose):
            return _with_consent(profile, purpose, True)
        case ConsentWithdrawn(purpose=purpose):
            return _with_consent(profile, purpose, False)
        case UserErased():
            return replace(profile, personalisation=False, training=False)


def _with_consent(profile: Profile, purpose: str, given: bool) -> Profile:
    if purpose == "training":
        return replace(profile, training=given)
    return replace(profile, personalisation=given)


def evolve_item(item: Item, event: CatalogEvent) -> Item:
    """The item after one more event about it."""
    match event:
        case ItemAdded(categories=categories):
            return Item(frozenset(categories))
        case ItemChanged(categories=None):
            return item
        case ItemChanged(categories=categories):
            return replace(item, categories=frozenset(categories or ()))
        case ItemRetired():
            return replace(item, retired=True)
