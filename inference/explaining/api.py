"""Explanations over HTTP, beside the recommendations: from the only service that has the artifacts and may score.

An explanation is work for a second, a recommendation for milliseconds: one explanation is made at a time, its heavy
parts in threads, and what it takes is loaded when the first is asked for.
"""

import asyncio
from importlib import import_module
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Path, Query, Request, Response

from infra.access.openapi import open_to
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Unavailable

AT_ONCE = 1
WAITING = 8
"""Explanations that may wait for their turn."""

ID = r"^[^\x00-\x1f]{1,128}$"


class Explaining:
    """Explanations, one after another."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._explainer: Any = None

    async def statement(self, decision_id: str, model: str | None, without: list[str], *, scan: bool) -> bytes:
        """An explanation as JSON.

        Raises:
            Unavailable: too many are asked for, or a server is away.
            Problem: as `Explainer.explain`.
        """
        if self._waiting >= WAITING:
            raise Unavailable("other explanations wait already: try again in some seconds", code="explanations_wait")
        self._waiting += 1
        try:
            async with self._turn:
                return await self._made(decision_id, model, without, scan=scan)
        finally:
            self._waiting -= 1

    async def _made(self, decision_id: str, model: str | None, without: list[str], *, scan: bool) -> bytes:
        if self._explainer is None:
            explain = await asyncio.to_thread(import_module, "inference.explaining.explain")
            self._explainer = explain.Explainer(self._settings, await open_decoder(self._settings))
        from inference.explaining.statement import statement
        from inference.explaining.whatif import WhatIf

        explanation = await self._explainer.explain(decision_id, WhatIf.of(model, without), indexed=not scan)
        return await asyncio.to_thread(lambda: orjson.dumps(statement(explanation), default=str))


def add_to(app: FastAPI) -> None:
    """Answer explanations as well; `app.state.explaining` is to be set when the service starts."""
    app.add_api_route(
        "/decisions/{decision_id}/explanation",
        explanation,
        methods=["GET"],
        tags=["audit"],
        summary="A decision made again from the log: its inputs, why each item, and whether it is identical",
        openapi_extra=open_to("auditor", "engineer"),
    )


async def explanation(
    request: Request,
    decision_id: Annotated[str, Path(pattern=ID)],
    model: Annotated[
        str | None, Query(max_length=128, description="suppose that this model had been asked: NAME or NAME@VERSION")
    ] = None,
    without: Annotated[
        list[str] | None, Query(description="suppose that this had not happened: event id, position or item:ID")
    ] = None,
    scan: Annotated[bool, Query(description="read the log whole, without indexes and kept counts")] = False,
) -> Response:
    """Make a decision again and compare."""
    explaining: Explaining = request.app.state.explaining
    content = await explaining.statement(decision_id, model, without or [], scan=scan)
    return Response(content, media_type="application/json")
