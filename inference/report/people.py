"""Consent and erasure: what people allowed, what they took back, and when their data were gone.

A report about a period names nobody: people are told by the positions of their events alone.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from inference.report.scope import Scope
from schemas.profiles import ConsentGiven, ConsentWithdrawn, PersonalDataDestroyed, UserErased, UserRegistered

TYPES = tuple(kind.AVRO for kind in (ConsentGiven, ConsentWithdrawn, PersonalDataDestroyed, UserErased, UserRegistered))


@dataclass(frozen=True)
class Erasure:
    """A person who asked to be forgotten, unnamed.

    Attributes:
        position: of the request.
        reason: as it was given with the request.
        done_at: when no key and no read model held them any more; None when that is not on record.
        done: where that stands.
        removed: rows or documents that each read model removed.
    """

    position: str
    at: datetime
    reason: str
    done_at: datetime | None = None
    done: str = ""
    keys: int = 0
    removed: Mapping[str, int] = field(default_factory=dict)

    @property
    def took_s(self) -> float | None:
        """From the request to its completion."""
        return None if self.done_at is None else (self.done_at - self.at).total_seconds()


@dataclass(frozen=True)
class Word:
    """What somebody said about a use of their data."""

    purpose: str
    given: bool
    at: datetime
    position: str


class People:
    """The fold of what `profiles` says about consent and erasure, up to the end of the period.

    Memory grows with those who ever withdrew or were erased, not with those who are known.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.erased: dict[str, Erasure] = {}
        self.erased_during: list[str] = []
        self.words: defaultdict[str, list[Word]] = defaultdict(list)
        self.said: Counter[tuple[str, bool]] = Counter()
        self.withdrawals: list[Word] = []
        self.registered = 0

    def take(self, tables: Mapping[str, pl.DataFrame]) -> None:
        """The next events of one partition."""
        registered = tables.get(UserRegistered.AVRO)
        if registered is not None:
            first, end = self._scope.span("profiles", registered["_partition"][0])
            self.registered += len(registered.filter(pl.col("_offset").is_between(first, end, closed="left")))
        rows = [
            (name, row)
            for name, table in tables.items()
            if name != UserRegistered.AVRO
            for row in table.iter_rows(named=True)
        ]
        for name, row in sorted(rows, key=lambda pair: pair[1]["_offset"]):
            self._hear(name, row)

    def _hear(self, name: str, row: Mapping[str, Any]) -> None:
        user = row["user_id"]
        if name == UserErased.AVRO:
            self.erased.setdefault(user, Erasure(_position(row), row["_time"], row["reason"]))
            if self._is_during(row):
                self.erased_during.append(user)
        elif name == PersonalDataDestroyed.AVRO and user in self.erased:
            self.erased[user] = _done(self.erased[user], row)
        elif name in (ConsentGiven.AVRO, ConsentWithdrawn.AVRO):
            self._said(user, Word(row["purpose"], name == ConsentGiven.AVRO, row["_time"], _position(row)), row)

    def _said(self, user: str, word: Word, row: Mapping[str, Any]) -> None:
        if not word.given or user in self.words:
            self.words[user].append(word)
        if self._is_during(row):
            self.said[word.purpose, word.given] += 1
            if not word.given:
                self.withdrawals.append(word)

    def _is_during(self, row: Mapping[str, Any]) -> bool:
        first, end = self._scope.span("profiles", row["_partition"])
        return bool(first <= row["_offset"] < end)

    def refusing(self, purpose: str) -> Collection[str]:
        """Those whose last word on a purpose was no."""
        return [
            user
            for user, words in self.words.items()
            if not next((word.given for word in reversed(words) if word.purpose == purpose), True)
        ]

    def erasures(self) -> list[Erasure]:
        """Those asked for in the period, in order of time."""
        return sorted((self.erased[user] for user in self.erased_during), key=lambda one: (one.at, one.position))


def _position(row: Mapping[str, Any]) -> str:
    return f"{row['_topic']}/{row['_partition']}/{row['_offset']}"


def _done(erasure: Erasure, row: Mapping[str, Any]) -> Erasure:
    removed = {held["key"]: held["value"] for held in row["removed"] or ()}
    return Erasure(
        erasure.position,
        erasure.at,
        erasure.reason,
        done_at=row["_time"],
        done=_position(row),
        keys=row["keys"],
        removed=dict(sorted(removed.items())),
    )
