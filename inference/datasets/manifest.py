"""What a dataset says of itself: all that is needed to build it again, and to see that it is the same."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import msgspec
import polars as pl

from inference.datasets.filters import NO_FILTERS, Filters, filters_of
from schemas.envelope import DEFAULT_TENANT
from schemas.errors import Invalid
from schemas.models import OffsetRange

COLUMNS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "_topic": pl.String,
    "_partition": pl.Int32,
    "_offset": pl.Int64,
    "_id": pl.String,
    "user_id": pl.String,
    "item_id": pl.String,
    "kind": pl.String,
    "value": pl.Float64,
    "occurred_at": pl.Datetime("us", "UTC"),
    "decision_id": pl.String,
}
"""What a row is, and what is hashed."""

FORMAT = 3
"""1 knew of no erasures, 2 of no filters and no features. What is hashed has stayed the same."""
READABLE = (2, FORMAT)


@dataclass(frozen=True, slots=True)
class Part:
    """The rows that are of one range of interactions.

    Attributes:
        range: which.
        sha256: over their content.
    """

    range: OffsetRange
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the features knew.

    Attributes:
        rule: the rule in a sentence, see docs/explanation/point-in-time.md.
        lag_ms: how much later than it was written an event of another partition counts as known.
        ranges: parts of `interactions`, `profiles` and `catalog` that were folded.
        stamps: who stamped the records of each topic: `broker`, `producer` or both.
        late: rows for which part of what the log knew had happened after them, and was not used.
    """

    rule: str
    lag_ms: int
    ranges: tuple[OffsetRange, ...]
    stamps: Mapping[str, str]
    late: int


@dataclass(frozen=True, slots=True)
class FeatureContent:
    """One feature of the rows.

    Attributes:
        version: of its declaration.
        columns: names and kinds.
        sha256: over its columns.
    """

    name: str
    version: int
    columns: Mapping[str, str]
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All that is needed to build the same dataset again, and to see that it is the same.

    Attributes:
        ranges: parts of `interactions` and `profiles`, and of `catalog` where a category was asked for, in log order.
        silent_kinds: kinds of interaction left out.
        schema_ids: of the writers, as the registry has them.
        rows: interactions in the dataset.
        duplicates: interactions left out because their id had come before from the same user.
        silent: interactions left out for their kind.
        withdrawn_users: users with no consent to training at the end of the profiles' ranges.
        withdrawn: interactions left out because of them.
        erasures: the part of `profiles` that was looked through for erasures: all there was.
        erased_users: users who have been erased.
        erased: interactions left out because of them.
        erased_since: how many of these would have been there before: their users were erased after the profiles'
            ranges end.
        sha256: over the content, see `inference.datasets.content`.
        format: of this manifest.
        tenant: whose.
        filters: what was asked for.
        filtered: interactions left out because they are not what was asked for.
        thinned: interactions left out because their user or item had too few.
        users: how many different ones are in it.
        items: how many different ones are in it.
        parts: the same for each range of `interactions`.
        features: what was joined to the rows.
        known: what the features knew; None without features.
    """

    ranges: tuple[OffsetRange, ...]
    silent_kinds: tuple[str, ...]
    schema_ids: tuple[int, ...]
    rows: int
    duplicates: int
    silent: int
    withdrawn_users: int
    withdrawn: int
    erasures: tuple[OffsetRange, ...]
    erased_users: int
    erased: int
    erased_since: int
    sha256: str
    format: int = FORMAT
    tenant: str = DEFAULT_TENANT
    filters: Filters = NO_FILTERS
    filtered: int = 0
    thinned: int = 0
    users: int = 0
    items: int = 0
    parts: tuple[Part, ...] = ()
    features: tuple[FeatureContent, ...] = ()
    known: Known | None = None

    @property
    def recipe_sha256(self) -> str:
        """Hash of what was asked for: another filter, feature or range is another recipe, even for the same rows."""
        asked = {
            "ranges": self.ranges,
            "silent_kinds": self.silent_kinds,
            "tenant": self.tenant,
            "filters": self.filters,
            "features": [(one.name, one.version) for one in self.features],
            "known": None if self.known is None else (self.known.rule, self.known.lag_ms, self.known.ranges),
        }
        return sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """In the values of JSON."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return {**found, "recipe_sha256": self.recipe_sha256}

    def as_json(self) -> str:
        """For people and other programs."""
        return json.dumps(self.as_dict(), indent=2) + "\n"


def parse(text: str | bytes, name: str = "this file") -> Manifest:
    """A manifest of its JSON.

    Raises:
        Invalid: it is none, is of a later format, or was changed after it was written.
    """
    try:
        found = json.loads(text)
        if not isinstance(found, dict) or found.get("format") not in READABLE:
            raise ValueError(f"its format is not one of {', '.join(map(str, READABLE))}")
        recipe = found.pop("recipe_sha256", None)
        filters = filters_of(found.pop("filters", {}))
        manifest = msgspec.convert({**found, "filters": {}}, Manifest)
    except (ValueError, UnicodeDecodeError) as fault:
        raise Invalid(
            f"{name} is no manifest that can be read: {fault}; take it from the store again (`retrace dataset show "
            "SHA256`), or build another (`retrace dataset build`)",
            code="unreadable_manifest",
        ) from fault
    manifest = replace(manifest, filters=filters)
    if recipe is not None and recipe != manifest.recipe_sha256:
        raise Invalid(
            f"{name} was changed after it was written: what it asks for is not what its recipe's hash stands for",
            code="changed_manifest",
        )
    return manifest
