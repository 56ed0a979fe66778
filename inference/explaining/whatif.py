"""What somebody would have been answered: by another version of a model, or had they not met something.

The inputs are those of the decision, from the log. What comes out is a supposition about an answer that nobody gave, so
it is compared with the recorded one by ranks, and never called identical to anything.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import psycopg

from inference.explaining.rebuild import Known
from inference.explaining.remake import Case, Remade, Scored, remake
from inference.inputs import Interaction
from infra.postgres import away, connect
from infra.settings import Settings
from schemas.decisions import RecommendationServed
from schemas.errors import Invalid, NotFound

ITEM = "item:"
"""How all interactions with an item are named."""

NAMED = 5
"""Names of what was left out that are told."""

BY_MODEL = ("model", "last_good")
"""Sources of answers that a model made, now or before."""

VERSIONS = """
    SELECT model, version, artifact_sha256, retired,
        EXISTS (SELECT FROM live_models l WHERE l.model = r.model AND l.version = r.version) AS live
    FROM model_registry r ORDER BY model, version
"""


@dataclass(frozen=True)
class WhatIf:
    """A supposition.

    Attributes:
        model: that answers instead; None for the one that did.
        version: of it; None for the one that serves now, else its newest that is not retired.
        without: interactions that had not happened: event ids, positions, or `item:ID` for all with an item.
    """

    model: str | None = None
    version: int | None = None
    without: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: str | None, without: Iterable[str]) -> Self | None:
        """From `NAME` or `NAME@VERSION` and names of interactions; None when nothing is supposed.

        Raises:
            Invalid: the version is no number.
        """
        if model is None:
            return cls(without=tuple(without)) if tuple(without) else None
        name, at, version = model.partition("@")
        if not name or (at and not version.isdecimal()):
            raise Invalid(f"'{model}' names no model: write NAME or NAME@VERSION, such as movies@3", code="bad_model")
        return cls(name, int(version) if at else None, tuple(without))


@dataclass(frozen=True)
class Change:
    """An item in the recorded answer and in the supposed one.

    Attributes:
        was, now: rank, from 1; None where it is not in the answer.
        was_score, now_score: None likewise. Scores of different models have no common measure.
    """

    item_id: str
    was: int | None
    now: int | None
    was_score: float | None
    now_score: float | None


@dataclass(frozen=True)
class Hypothesis:
    """A supposed answer beside the recorded one.

    Attributes:
        supposed: what was supposed, one sentence each.
        source: what would have made the answer.
        model, version, artifact_sha256: that would have been asked; None where no model would.
        remade: the supposed answer.
        changes: by their place in the supposed answer, then those that went out by their recorded place.
    """

    supposed: tuple[str, ...]
    source: str
    model: str
    version: int | None
    artifact_sha256: str | None
    remade: Remade
    changes: tuple[Change, ...]

    @property
    def came_in(self) -> tuple[str, ...]:
        """Items that only the supposed answer has."""
        return tuple(change.item_id for change in self.changes if change.was is None)

    @property
    def went_out(self) -> tuple[str, ...]:
        """Items that only the recorded answer has."""
        return tuple(change.item_id for change in self.changes if change.now is None)


async def suppose(settings: Settings, case: Case, what_if: WhatIf) -> Hypothesis:
    """The answer under a supposition.

    Raises:
        NotFound: there is no such model or version, or its artifact is gone.
        Invalid: an interaction that is to be left out is none of those known.
        Incompatible: an artifact is damaged, or an earlier decision that was repeated is not as recorded.
        Unavailable: a store does not answer.
    """
    recorded = case.decision
    gone = {row.event_id for name in what_if.without for row in named(case.known, name)}
    left_out = [row for row in case.known.interactions if row.event_id in gone]
    supposed = [_untold(what_if.without, len(left_out), len(case.known.interactions))] if left_out else []
    if what_if.model is not None:
        chosen = await version(settings, what_if.model, what_if.version)
        case = replace(case, decision=_by(recorded, chosen))
        supposed.append(f"version {chosen['version']} of {chosen['model']} had been asked")
    case = replace(case, known=case.known.without(left_out), left_out=tuple(left_out))
    case, remade, note = await _answered(case, recorded)
    by_model = case.decision.source in BY_MODEL
    return Hypothesis(
        supposed=(*supposed, *note),
        source=case.decision.source if remade.items else "none",
        model=case.decision.model,
        version=case.decision.version if by_model else None,
        artifact_sha256=case.decision.artifact_sha256 if by_model else None,
        remade=remade,
        changes=tuple(changes([(item.item_id, item.score) for item in recorded.items], remade.items)),
    )


def _untold(names: Sequence[str], count: int, total: int) -> str:
    """What was left out, in words."""
    more = ", ..." if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more} had not happened: {count} of {total} interactions"


async def _answered(case: Case, recorded: RecommendationServed) -> tuple[Case, Remade, tuple[str, ...]]:
    """The answer, by the recorded fallback where the model would have had none, and what is to be said of that."""
    remade = await remake(case)
    if remade.items or case.decision.source not in BY_MODEL:
        return case, remade, ()
    if recorded.source in BY_MODEL:
        return case, remade, ("the model has nothing to answer; what others would have answered is not on this record",)
    case = replace(case, decision=recorded)
    return case, await remake(case), ("the model has nothing to answer: what answered instead is shown",)


def named(known: Known, name: str) -> list[Interaction]:
    """The interactions that a name stands for: an event id, a position, or `item:ID`.

    Raises:
        Invalid: none of them was known.
    """
    if name.startswith(ITEM):
        found = [row for row in known.interactions if row.item_id == name.removeprefix(ITEM)]
    else:
        found = [row for row in known.interactions if name in (str(row.event_id), str(known.position(row)))]
    if not found:
        raise Invalid(
            f"'{name}' is none of the {len(known.interactions)} interactions that were known at the decision: name one "
            "by its event id or its position, which `-o json` lists, or all with an item as item:ID",
            code="unknown_interaction",
        )
    return found


async def version(settings: Settings, model: str, number: int | None) -> dict[str, Any]:
    """A registered version of a model.

    Raises:
        NotFound: there is none; what there is is named.
        Unavailable: PostgreSQL does not answer.
    """
    rows = await _versions(settings)
    mine = [row for row in rows if row["model"] == model]
    if not mine:
        known = ", ".join(sorted({row["model"] for row in rows})) or "none"
        raise NotFound(f"no model '{model}' is registered: registered are {known}", code="unknown_model")
    if number is not None:
        chosen = [row for row in mine if row["version"] == number]
    else:
        usable = [row for row in mine if not row["retired"]]
        chosen = [row for row in usable if row["live"]] or usable[-1:]
    if not chosen:
        known = ", ".join(f"{row['version']}{' (retired)' if row['retired'] else ''}" for row in mine)
        raise NotFound(
            f"model '{model}' has no version {'to suppose' if number is None else number}: it has {known}",
            code="unknown_version",
        )
    return chosen[0]


async def _versions(settings: Settings) -> list[dict[str, Any]]:
    try:
        async with await connect(settings, "explain") as connection:
            return list(await (await connection.execute(VERSIONS)).fetchall())
    except psycopg.errors.UndefinedTable:
        return []
    except psycopg.Error as fault:
        raise away(fault) from fault


def _by(decision: RecommendationServed, chosen: Mapping[str, Any]) -> RecommendationServed:
    return replace(
        decision,
        source="model",
        model=chosen["model"],
        version=chosen["version"],
        artifact_sha256=chosen["artifact_sha256"],
    )


def changes(was: Scored, now: Scored) -> Iterator[Change]:
    """What became of each item."""
    before = {item: (rank, score) for rank, (item, score) in enumerate(was, start=1)}
    after = {item: (rank, score) for rank, (item, score) in enumerate(now, start=1)}
    for item in dict.fromkeys([*after, *before]):
        (was_rank, was_score), (now_rank, now_score) = before.get(item, (None, None)), after.get(item, (None, None))
        yield Change(item, was_rank, now_rank, was_score, now_score)
