"""What a replay has written so far."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from console.export.manifest import Outcome, Written
from infra.kafka.replay import Tables


@dataclass
class Tally:
    """What has been written so far."""

    keys_asked: Sequence[str]
    types: Counter[str] = field(default_factory=Counter)
    schema_ids: set[int] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)

    def add(self, tables: Tables) -> None:
        """Count more."""
        for name, table in tables.items():
            self.types[name] += len(table)
            self.schema_ids |= set(table["_schema_id"].unique())
            if self.keys_asked:
                self.keys |= set(table["_key"].unique())

    def as_json(self) -> dict[str, Any]:
        """To be kept."""
        return {"types": dict(self.types), "schema_ids": sorted(self.schema_ids), "keys": sorted(self.keys)}

    def take(self, said: dict[str, Any]) -> None:
        """Add what was kept."""
        self.types.update(said["types"])
        self.schema_ids |= set(said["schema_ids"])
        self.keys |= set(said["keys"])

    def outcome(self, files: Sequence[Written]) -> Outcome:
        """All of it, with the files that hold it."""
        return Outcome(files, dict(self.types), sorted(self.schema_ids), sorted(self.keys))
