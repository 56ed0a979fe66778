"""The read models of API keys."""

from typing import Any

from psycopg import AsyncConnection

from infra.settings import Settings
from projections.testing import Log, given, minute
from projections.views import api_key_uses, api_keys
from schemas.access import ApiKeyCreated, ApiKeyRevoked, ApiKeyRotated
from schemas.usage import ApiKeyUsed

ZEROS = "0" * 64


def made(key_id: str) -> ApiKeyCreated:
    return ApiKeyCreated(key_id=key_id, secret_sha256=ZEROS, name=f"name of {key_id}", roles=("product",))


async def test_a_key_shows_what_became_of_it(database: AsyncConnection[Any], settings: Settings) -> None:
    """An admin decides by this list which key to take away."""
    log = Log()
    events = log.of(
        made("a"),
        made("b"),
        ApiKeyRotated(key_id="a", secret_sha256="1" * 64, previous_until=minute(50)),
        ApiKeyRotated(key_id="a", secret_sha256="2" * 64, previous_until=minute(90)),
        ApiKeyRevoked(key_id="b", reason="leaked"),
    )
    rows = {row["key_id"]: row for row in await given(database, settings.postgres.db_schema, api_keys.VIEW, *events)}
    assert (rows["a"]["rotated_at"], rows["a"]["previous_until"]) == (minute(3), minute(90))
    assert (rows["a"]["revoked_at"], rows["a"]["roles"]) == (None, ["product"])
    assert (rows["b"]["revoked_at"], rows["b"]["reason"], rows["b"]["revoked_by"]) == (minute(4), "leaked", "ana")


async def test_no_hash_is_shown(database: AsyncConnection[Any], settings: Settings) -> None:
    """Whoever may read read models need not be able to compare hashes."""
    [row] = await given(database, settings.postgres.db_schema, api_keys.VIEW, *Log().of(made("a")))
    assert ZEROS not in str(row)


async def test_the_last_use_counts(database: AsyncConnection[Any], settings: Settings) -> None:
    """Services report out of order; a key must not look older than it is."""
    log = Log()
    uses = [ApiKeyUsed(key_id="a", used_at=minute(at), service="queries") for at in (1, 7, 3)]
    [row] = await given(database, settings.postgres.db_schema, api_key_uses.VIEW, *log.of(*uses))
    assert row["last_used_at"] == minute(7)
