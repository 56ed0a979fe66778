"""FastAPI, a pydantic model and a pool of psycopg connections: the query service that most teams would write.

It reads the same table as ours and answers the same fields. It asks no key, says no position that the answer speaks
for, has no ETag and refuses no unknown parameter.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from infra.postgres import make_pool
from infra.settings import Settings


class Profile(BaseModel):
    """A user."""

    user_id: str
    name: str | None
    attributes: dict[str, str]
    favourite_categories: list[str]
    hidden_categories: list[str]
    language: str | None
    personalisation: bool
    training: bool
    registered_at: datetime | None
    version: int


def create_app(settings: Settings) -> FastAPI:
    """The service."""
    pool = make_pool(settings, "peer", min_size=4, max_size=8, checked=False)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with pool:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/users/{user_id}")
    async def profile(user_id: str) -> Profile:
        async with pool.connection() as connection:
            cursor = await connection.execute("SELECT * FROM user_profile WHERE user_id = %s", (user_id,))
            row = await cursor.fetchone()
        if row is None:
            raise HTTPException(404)
        return Profile.model_validate(row)

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(Settings()), port=int(sys.argv[1]), http="httptools", loop="uvloop", log_level="warning")
