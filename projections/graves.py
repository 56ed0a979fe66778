"""Forgetting people in Elasticsearch: an index of whom the log has erased, beside the indices that are personal.

Nothing can be locked there. So who erases digs the grave first and removes the documents afterwards, and who writes
documents looks for graves before and once more afterwards: whichever comes first, one of the two removes what was
written. Reading a grave by its id is up to date at once; only searches lag.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from elasticsearch import AsyncElasticsearch, BadRequestError, NotFoundError

from infra.elastic import index_name
from infra.settings import Settings
from schemas.errors import Unavailable

NAME = "erased_people"
AT_ONCE = 1_000
DONE = frozenset({200, 404})

SETTINGS = {"index.merge.policy.expunge_deletes_allowed": 0}
"""Of a personal index: what is removed leaves the files when it is told to, not when much else has been removed."""


class Graves:
    """Who was erased, and their documents in every index of one read model: also one that is being filled or kept.

    Args:
        pattern: matches these indices.
        person: field that names the person.
    """

    def __init__(self, settings: Settings, client: AsyncElasticsearch, pattern: str, person: str) -> None:
        self._name = index_name(settings, NAME)
        self._client = client
        self._pattern = pattern
        self._person = person

    async def dig(self, people: Collection[str]) -> None:
        """Keep that these people are erased."""
        if not people:
            return
        await self._create()
        head = ({"index": {"_id": user_id}} for user_id in people)
        operations = [line for one in head for line in (one, {"erased": True})]
        answer = await self._client.bulk(index=self._name, operations=operations)
        if answer["errors"]:
            raise Unavailable("Elasticsearch did not keep who was erased")

    async def among(self, people: Iterable[str]) -> set[str]:
        """Those of these people who are erased."""
        wanted = sorted(set(people))
        if not wanted:
            return set()
        try:
            answer = await self._client.mget(index=self._name, ids=wanted, source=False)
        except NotFoundError:
            return set()
        return {found["_id"] for found in answer["docs"] if found.get("found")}

    async def clear(self, people: Collection[str]) -> int:
        """Remove the documents about these people; how many there were."""
        removed = 0
        while people and (some := await self._found(people)):
            await self._remove(some)
            removed += len(some)
        if removed:
            await self._expunge()
        return removed

    async def _found(self, people: Collection[str]) -> list[tuple[str, str]]:
        """Index and id of some documents about them, as they are now."""
        await self._client.indices.refresh(index=self._pattern, ignore_unavailable=True)
        query = {"terms": {self._person: list(people)}}
        found = await self._client.search(index=self._pattern, query=query, size=AT_ONCE, source=False)
        return [(hit["_index"], hit["_id"]) for hit in found["hits"]["hits"]]

    async def _remove(self, some: Sequence[tuple[str, str]]) -> None:
        operations = [{"delete": {"_index": index, "_id": id}} for index, id in some]
        answer = await self._client.bulk(operations=operations)
        for result in (item["delete"] for item in answer["items"]):
            if result["status"] not in DONE:
                raise Unavailable(f"Elasticsearch did not remove {result['_id']} ({result['status']})")

    async def _expunge(self) -> None:
        """Let what was removed leave the files too, and the log of writes with it."""
        await self._client.indices.flush(index=self._pattern, ignore_unavailable=True)
        await self._client.indices.forcemerge(
            index=self._pattern, only_expunge_deletes=True, ignore_unavailable=True, flush=True
        )

    async def _create(self) -> None:
        mapping: dict[str, Any] = {"dynamic": False, "properties": {"erased": {"type": "boolean"}}}
        try:
            await self._client.indices.create(index=self._name, mappings=mapping, settings={"number_of_replicas": 0})
        except BadRequestError as fault:
            if fault.error != "resource_already_exists_exception":
                raise
