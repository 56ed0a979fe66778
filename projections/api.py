"""The role `queries`: the read models over HTTP.

Every answer says in `x-position` how far the log has been folded for it; a query with `min-position` waits until that
has been reached, so that whoever wrote reads their own writes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from infra.access.gate import Gate
from infra.access.route import guarded
from infra.elastic import make_elastic
from infra.ending import ended
from infra.health import Health
from infra.postgres import make_pool
from infra.settings import Settings
from projections.problems import Problem
from projections.readmodels import ReadModels
from projections.routes import (
    access,
    audit,
    dead_letters,
    items,
    lineage,
    models,
    operations,
    people,
    records,
    runs,
    schedules,
    search,
)
from projections.runner import declared
from projections.search.meaning import Meaning

ROUTES = (
    people.routes,
    items.routes,
    models.routes,
    runs.routes,
    lineage.routes,
    records.routes,  # before `audit`: /decisions/search is no decision
    audit.routes,
    operations.routes,
    dead_letters.routes,
    access.routes,
    schedules.routes,
)

DESCRIPTION = """The read side of Retrace. Read models are folds of the log: they lag behind it by milliseconds.

* **Reading your own writes**: give the `x-position` of a command's answer as `min-position`; the query waits for it for
  `wait` seconds (2 unless told otherwise, 30 at most) and otherwise answers 504 with how far behind it is.
* **As it was**: `as-of` a time or a position, or `exact`, is answered from the log itself where an operation takes it.
* **Pages**: a list ends with `next`, and with a header `link`; give the cursor with the same path and filters.
* **Not twice**: send the `etag` of an answer as `If-None-Match`; 304 says that it still holds. HEAD is answered.
* **Keys**: `Authorization: Bearer KEY`; `x-roles` of an operation says which roles it takes.
* **Problems** are RFC 9457 documents with a stable `code` and a `detail` that names the remedy."""


class QueryApi(FastAPI):
    """Describes itself, its problems included."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            schemas = super().openapi().setdefault("components", {}).setdefault("schemas", {})
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem.pop("$defs", {}) | {"Problem": problem}
        return super().openapi()


def create_app(settings: Settings, health: Health) -> FastAPI:
    """The application; its stores are opened when it starts, and waited for while they are away."""
    pool = make_pool(settings, "queries", min_size=4, max_size=8, checked=False)  # a query is simply asked again
    elastic = make_elastic(settings, timeout_s=5)
    gate, meaning = Gate(settings, health), Meaning(settings, elastic)
    readers = ReadModels(settings, pool, elastic, {projection.name: projection for projection in declared()})

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        health.failed("postgres", "not asked yet")
        async with pool, elastic, meaning, gate.kept():
            tasks = [asyncio.create_task(work) for work in (readers.listen(health), readers.look(health))]
            try:
                yield
            finally:
                await ended(*tasks)

    app = guarded(QueryApi(title="Retrace queries", version="1", description=DESCRIPTION, lifespan=lifespan), gate)
    for router in (search.routes(readers, meaning), *(routes(readers) for routes in ROUTES)):
        app.router.routes.extend(router.routes)  # not included: that would look for a route twice
    return app
