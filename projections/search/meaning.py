"""The vector of what somebody searches for, or why there is none: words alone decide then."""

import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import structlog
from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from infra.elastic import index_name
from infra.sentences import Sentences, served_as
from infra.settings import Settings
from projections.search.catalogue import LIVE, Vector
from schemas.errors import Problem

KEPT = 2_000
"""Vectors of queries that are kept; people search for the same things."""
LOOK_AGAIN_S = 5.0
DIGITS = 5
"""More than the index keeps of a vector, and half of what would be written, sent and read for each search."""
NONE_YET = "no item has a vector yet: start `retrace serve embedder`, or wait for it"

log = structlog.get_logger()


@dataclass(frozen=True)
class Absent:
    """There is no vector.

    Attributes:
        reason: for people.
    """

    reason: str


class Meaning:
    """Asks Triton for vectors, by the model that most items have theirs from; an async context manager."""

    def __init__(self, settings: Settings, elastic: AsyncElasticsearch) -> None:
        self._settings = settings
        self._elastic = elastic
        self._sentences: Sentences | None = None
        self._is_away = False
        self._model: tuple[float, str | None] = (0.0, None)
        self._kept: OrderedDict[tuple[str, str], Vector] = OrderedDict()

    async def vector(self, text: str) -> Vector | Absent:
        """The vector of a text, as fast as a search can wait for it."""
        model = await self._current()
        if model is None:
            return Absent(NONE_YET)
        with suppress(KeyError):
            self._kept.move_to_end((model, text))
            return self._kept[model, text]
        return await self._asked(model, text)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._sentences is not None:
            await self._sentences.__aexit__(None, None, None)

    async def _asked(self, model: str, text: str) -> Vector | Absent:
        if self._sentences is None:  # its connections belong to the event loop
            self._sentences = Sentences(self._settings.triton.grpc)
        try:
            timeout_s = self._settings.search.timeout_ms / 1000
            (values,) = await self._sentences.vectors(served_as(model), [text], timeout_s)
        except Problem as fault:
            if not self._is_away:  # told once, and not for every query
                log.warning("queries get no vectors", cause=fault.detail)
            self._is_away = True
            return Absent(fault.detail)
        self._is_away = False
        self._kept[model, text] = Vector([round(value, DIGITS) for value in values], model)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[model, text]

    async def _current(self) -> str | None:
        """The model of most vectors; looked up every few seconds, and while there is none each time."""
        until, model = self._model
        if model is None or time.monotonic() > until:
            model = await self._looked_up()
            self._model = (time.monotonic() + LOOK_AGAIN_S, model)
        return model

    async def _looked_up(self) -> str | None:
        aggregation: dict[str, Any] = {"models": {"terms": {"field": "vector_model", "size": 1}}}
        try:
            name = index_name(self._settings, "catalogue_search")
            found = await self._elastic.search(index=name, size=0, query=LIVE, aggregations=aggregation)
        except (ApiError, TransportError):
            return None  # the search itself will tell
        buckets = found["aggregations"]["models"]["buckets"]
        return buckets[0]["key"] if buckets else None
