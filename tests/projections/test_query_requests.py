"""What every query has: parameters by name, cursors for one query, ETags, HEAD."""

import re
from typing import Any

import aiohttp
import pytest

from infra.access.client import headers_of
from infra.settings import Settings
from schemas.position import Position

from .conftest import Get
from .test_query_api import of, told

__all__ = ["told"]

REFUSED: list[tuple[str, str, str]] = [
    ("/items?categry=scifi", "unknown_parameter", "did you mean 'category'?"),
    ("/models?filter=1", "unknown_parameter", "known are as-of, cursor, exact, limit, min-position, wait"),
    ("/projections?limit=1", "unknown_parameter", "known are none"),
    ("/users/ana/history?as-of=2026-01-31T12:00:00Z", "unknown_parameter", "known are"),
    ("/items?limit=1&limit=2", "repeated_parameter", "once"),
    ("/items?cursor=abc", "bad_cursor", "give `next` of an answer"),
    ("/users/ana/history?before=0.5", "invalid", "see `errors`"),
    ("/users/ana/history?before=2026-01-31T12:00:00", "invalid", "see `errors`"),
    ("/schedules?status=lost", "invalid", "see `errors`"),
]


@pytest.mark.parametrize(("path", "code", "hint"), REFUSED)
async def test_what_is_not_described_is_refused_by_name(get: Get, path: str, code: str, hint: str) -> None:
    """A filter that is misspelt would otherwise answer with everything."""
    status, problem, _ = await get(path)
    assert (status, problem["code"]) == (422, code), problem
    assert hint in problem["detail"]
    assert problem["errors"], "the parameter is named"


async def test_pages_go_on_under_their_own_filters_alone(told: list[Position], get: Get) -> None:
    """Under other filters a cursor would pass rows over in silence; a changed limit does no harm."""
    fresh = {"min-position": of(told, "catalog"), "wait": 20}
    _, first, headers = await get("/items", limit=1, **fresh)
    assert [item["item_id"] for item in first["items"]] == ["i1"]
    _, second, last = await get("/items", limit=5, cursor=first["next"])
    assert [item["item_id"] for item in second["items"]] == ["i2"]
    assert (second["next"], "link" in last) == (None, False)
    linked = re.fullmatch(r'<(.+)>; rel="next"', headers["link"])
    assert linked is not None
    assert (await get(linked[1]))[1]["items"] == second["items"]
    for path, params in (("/items", {"category": "scifi"}), ("/items", {"retired": "true"}), ("/popular", {})):
        status, problem, _ = await get(path, cursor=first["next"], **params)
        assert (status, problem["code"]) == (422, "cursor_of_another_query"), path


async def test_every_page_of_every_list_is_reached(told: list[Position], get: Get) -> None:
    """Lists that are arrays have their cursor in the header; one by one they say what they say at once."""
    for position in {topic: of(told, topic) for topic in ("interactions", "decisions", "catalog", "access")}.values():
        await get("/popular" if "interactions" in position else "/api-keys", **{"min-position": position, "wait": 20})
    for path in ("/popular", "/api-keys", "/models", "/users/ana/decisions", "/models/movies/deployments", "/trending"):
        _, whole, _ = await get(path)
        found: list[Any] = []
        following = f"{path}?limit=1"
        while following:
            _, rows, headers = await get(following)
            found += rows
            link = re.fullmatch(r'<(.+)>; rel="next"', headers.get("link", ""))
            following = link[1] if link else ""
        assert found == whole, path


async def test_what_a_client_has_is_not_sent_again(
    told: list[Position], get: Get, query_url: str, settings: Settings
) -> None:
    """304 says that it still holds and how far was looked; another event brings another ETag."""
    _, _, headers = await get("/users/ana", **{"min-position": of(told, "profiles"), "wait": 20})
    async with aiohttp.ClientSession(headers=headers_of(settings)) as http:
        for held in (headers["etag"], f'"other", W/{headers["etag"]}', "*"):
            async with http.get(f"{query_url}/users/ana", headers={"if-none-match": held}) as known:
                assert (known.status, await known.read()) == (304, b"")
                assert known.headers["etag"] == headers["etag"]
                assert known.headers["x-position"] == headers["x-position"]
        async with http.get(f"{query_url}/users/ana", headers={"if-none-match": '"other"'}) as other:
            assert other.status == 200
        async with http.head(f"{query_url}/users/ana") as head:
            assert (head.status, await head.read()) == (200, b"")
            assert head.headers["etag"] == headers["etag"]
            assert int(head.headers["content-length"]) > 0
        async with http.head(f"{query_url}/users/nobody") as head:
            assert head.status == 404
        async with http.post(f"{query_url}/users/ana") as post:
            assert post.status == 405
