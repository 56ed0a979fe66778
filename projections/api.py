"""The role `queries`: the read models over HTTP.

Every answer says in `x-position` how far the log has been folded for it; a query with `min-position` waits until that
has been reached, so that whoever wrote reads their own writes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from infra.access.gate import Gate
from infra.access.route import guarded
from infra.elastic import make_elastic
from infra.health import Health
from infra.postgres import make_pool
from infra.settings import Settings
from projections.readmodels import ReadModels
from projections.routes import access, audit, items, models, operations, people, schedules
from projections.runner import declared

ROUTES = (people.routes, items.routes, models.routes, audit.routes, operations.routes, access.routes, schedules.routes)

DESCRIPTION = """The read side of Retrace. Read models are folds of the log: they lag behind it by milliseconds.

* **Reading your own writes**: give the `x-position` of a command's answer as `min-position`; the query waits for it for
  `wait` seconds (2 unless told otherwise, 30 at most) and otherwise answers 504 with how far behind it is.
* **Keys**: `Authorization: Bearer KEY`; `x-roles` of an operation says which roles it takes.
* **Problems** are RFC 9457 documents with a stable `code` and a `detail` that names the remedy."""


def create_app(settings: Settings, health: Health) -> FastAPI:
    """The application; its stores are opened when it starts, and waited for while they are away."""
    pool, elastic = make_pool(settings, "queries"), make_elastic(settings, timeout_s=5)
    gate = Gate(settings, health)
    readers = ReadModels(settings, pool, elastic, {projection.name: projection for projection in declared()})

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        health.failed("postgres", "not asked yet")
        async with pool, elastic, gate.kept():
            listener = asyncio.create_task(readers.listen(health))
            try:
                yield
            finally:
                listener.cancel()
                with suppress(asyncio.CancelledError):
                    await listener

    app = guarded(FastAPI(title="Retrace queries", version="1", description=DESCRIPTION, lifespan=lifespan), gate)
    for routes in ROUTES:
        app.include_router(routes(readers))
    return app
