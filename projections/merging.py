"""Documents that are made of events of several topics.

Offsets of different topics cannot be compared, so one version number cannot say what a document has seen. Each document
says it itself, in its field `seen`: the offset of the last event about it, by topic. (All events about a document have
one key, and a key has one partition per topic.) Two lanes may write a document at once, so a document is written only
where it still is as it was read (`if_seq_no`), and otherwise read again.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from elasticsearch import AsyncElasticsearch

from infra.elastic import WRITTEN
from infra.together import together
from projections.shares import shares
from projections.view import Change, Drop
from schemas.errors import Unavailable
from schemas.position import Position

JSON = "application/vnd.elasticsearch+json; compatible-with=9"
SEEN = "seen"
ATTEMPTS = 10

Refresh: TypeAlias = Literal["wait_for", "false"]

Changes: TypeAlias = Sequence[tuple[Change, Position]]


@dataclass(frozen=True, slots=True)
class Found:
    """A document as it was read.

    Attributes:
        fields: its content; None when there is no such document.
        state: sequence number and term of its last write.
    """

    fields: Mapping[str, Any] | None = None
    state: tuple[int, int] = (0, 0)


def merged(fields: Mapping[str, Any] | None, changes: Changes) -> dict[str, Any] | None:
    """A document after more changes, of which it may have seen some; None when it has seen them all."""
    content = dict(fields or {})
    for change, position in changes:
        seen = content.get(SEEN, {})
        if position.offset > seen.get(position.topic, -1):
            kept = {} if isinstance(change, Drop) else {**content, **change.fields}
            content = {**kept, SEEN: {**seen, position.topic: position.offset}}
    return None if content == (fields or {}) else content


class Merging:
    """Brings changes into an index of such documents.

    Args:
        name: index or alias to write to.
        is_alias: whether it has to be an alias.
        check: looks at the result of each write; a conflict is not shown to it.
        refresh: what a write waits for.
    """

    def __init__(
        self,
        client: AsyncElasticsearch,
        name: str,
        *,
        is_alias: bool,
        check: Callable[[Mapping[str, Any]], None],
        refresh: Refresh = "wait_for",
    ) -> None:
        self._client = client
        self._name = name
        self._is_alias = is_alias
        self._check = check
        self._refresh: Refresh = refresh

    async def fold(self, changes: Changes) -> None:
        """Bring these changes in, in their order; those that were seen before are left alone.

        Raises:
            Unavailable: others write the same documents all the time.
        """
        left: dict[str, list[tuple[Change, Position]]] = defaultdict(list)
        for change, position in changes:
            left[change.id].append((change, position))
        await together(*(self._fold_share(share) for share in shares(left)))

    async def _fold_share(self, left: Mapping[str, Changes]) -> None:
        for _ in range(ATTEMPTS):
            overtaken = await self._attempt(left)
            if not overtaken:
                return
            left = {document: left[document] for document in overtaken}
        raise Unavailable(f"{len(left)} documents of {self._name} are written by others all the time; trying again")

    async def _attempt(self, left: Mapping[str, Changes]) -> list[str]:
        """Write what is not seen yet; which documents somebody else has written meanwhile."""
        operations: list[Mapping[str, Any]] = []
        for document, found in (await self._read(sorted(left))).items():
            content = merged(found.fields, left[document])
            if content is not None:
                operations += [_head(document, found), content]
        if not operations:
            return []
        answer = await self._client.bulk(
            index=self._name,
            operations=operations,
            refresh=self._refresh,
            require_alias=self._is_alias,
            filter_path=WRITTEN,
        )
        return [result["_id"] for item in answer["items"] for result in item.values() if self._is_overtaken(result)]

    async def _read(self, documents: Sequence[str]) -> dict[str, Found]:
        answer: Any = await self._client.perform_request(  # the client's own mget knows no such parameter
            "POST",
            f"/{quote(self._name, safe='')}/_mget",
            params={"_source_exclude_vectors": "false"},  # else the next write would be without them
            headers={"accept": JSON, "content-type": JSON},
            body={"ids": list(documents)},
        )
        return {
            d["_id"]: Found(d["_source"], (d["_seq_no"], d["_primary_term"])) if d.get("found") else Found()
            for d in answer["docs"]
        }

    def _is_overtaken(self, result: Mapping[str, Any]) -> bool:
        if result["status"] == 409:
            return True
        self._check(result)
        return False


def _head(document: str, found: Found) -> dict[str, Any]:
    if found.fields is None:
        return {"create": {"_id": document}}
    number, term = found.state
    return {"index": {"_id": document, "if_seq_no": number, "if_primary_term": term}}
