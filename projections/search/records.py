"""Searching what happened: pages of records, newest first.

A record never changes, and its place in the order is given by itself alone. So a page goes on behind the last record of
the one before, whatever was written meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from projections.freshness import Freshness
from projections.readmodels import ReadModels
from projections.routes.cursor import Pages
from projections.search.store import searched

Document = dict[str, Any]


@dataclass(frozen=True)
class Records:
    """An index of records.

    Attributes:
        view: its name.
        path: of the query, for its cursors.
        time: field that says when.
        order: sort of records of one time; no two have the same place.
        words: fields that words are looked for in.
    """

    view: str
    path: str
    time: str
    order: Sequence[Mapping[str, str]]
    words: Sequence[str] = ()

    @property
    def sort(self) -> list[Mapping[str, Any]]:
        """Newest first."""
        return [{self.time: {"order": "desc", "format": "strict_date_optional_time_nanos"}}, *self.order]


@dataclass(frozen=True)
class Asked:
    """A search for records.

    Attributes:
        terms: exact values by field; None where any will do.
        since: at that time or later.
        until: before that time.
        q: words, in any of the index's fields for them.
    """

    terms: Mapping[str, str | None] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None
    q: str | None = None


async def page(
    models: ReadModels, fresh: Freshness, records: Records, asked: Asked, limit: int, cursor: str | None
) -> tuple[list[Document], int | None, str | None, str]:
    """The next records, how many there are (on the first page), the cursor for more, and the position it has seen.

    Raises:
        Invalid: the cursor is of another search.
        TimedOut: the wanted position was not reached in time.
        Unavailable: a store is away.
    """
    span = {"since": _text(asked.since), "until": _text(asked.until)}
    pages = Pages.of(records.path, **asked.terms, **span, q=asked.q)
    place = pages.place(cursor)
    position = await models.position(fresh, records.view)
    (found,) = await searched(models, records.view, _body(records, asked, limit, place))
    hits = found["hits"]["hits"]
    more = pages.after(*hits[limit - 1]["sort"]) if len(hits) > limit else None
    total = found["hits"]["total"]["value"] if place is None else None
    return [hit["_source"] for hit in hits[:limit]], total, more, position


def _body(records: Records, asked: Asked, limit: int, place: Sequence[Any] | None) -> Document:
    words = {"multi_match": {"query": asked.q, "fields": list(records.words), "lenient": True}}
    body = {
        "size": limit + 1,
        "query": {"bool": {"must": words if asked.q else {"match_all": {}}, "filter": _filters(records, asked)}},
        "sort": records.sort,
        "track_total_hits": place is None,
    }
    return body | ({"search_after": list(place)} if place else {})


def _filters(records: Records, asked: Asked) -> list[Document]:
    exact = [{"term": {name: value}} for name, value in asked.terms.items() if value is not None]
    span = {"gte": _text(asked.since), "lt": _text(asked.until)}
    given = {name: value for name, value in span.items() if value is not None}
    return [*exact, {"range": {records.time: given}}] if given else exact


def _text(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
