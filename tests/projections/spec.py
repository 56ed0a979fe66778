"""A view in the schema of a test."""

from typing import Any

from psycopg import AsyncConnection

from infra.settings import Settings
from projections.testing import given
from projections.view import View
from schemas.envelope import Recorded


class Spec:
    """A view in the test's schema."""

    def __init__(self, database: AsyncConnection[Any], settings: Settings, view: View) -> None:
        self._database = database
        self._schema = settings.postgres.db_schema
        self._view = view

    async def rows(self, *events: Recorded) -> list[dict[str, Any]]:
        return await given(self._database, self._schema, self._view, *events)

    async def row(self, *events: Recorded) -> dict[str, Any]:
        (row,) = await self.rows(*events)
        return row
