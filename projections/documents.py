"""The indices of Elasticsearch: how they are made, and how a batch comes into them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from elasticsearch import AsyncElasticsearch, BadRequestError, NotFoundError

from infra.elastic import WRITTEN, index_name
from infra.settings import Settings
from infra.together import together
from projections import graves
from projections.batch import Batch
from projections.faults import Broken, Unfit
from projections.graves import Graves
from projections.merging import Merging, Refresh
from projections.shares import shares
from projections.view import Drop, Index, Put, topics_of
from schemas.envelope import Recorded
from schemas.errors import Unavailable
from schemas.profiles import UserErased

CONFLICT = 409
"""The document has been written at this version or a later one: a repeat, and harmless."""

REFRESH_INTERVAL = "200ms"
"""How soon a search sees what was written; a write waits for it, so that its checkpoint means `can be found`."""

SETTINGS = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": REFRESH_INTERVAL}

AT_A_TIME = 4_000
"""Events whose documents are in memory at a time."""


@dataclass
class Pending:
    """What is to become of one document.

    Attributes:
        version: one more than the offset of the last event about it.
        fields: None when it is to be removed.
    """

    version: int = 0
    fields: dict[str, Any] | None = field(default_factory=dict)


class Documents:
    """One physical index; the live one of an `Index`, or one that is filled beside it.

    Args:
        name: what to write to; the alias of the runner when it is None.
        refresh: whether a write waits until a search finds it.
    """

    def __init__(
        self,
        index: Index,
        settings: Settings,
        client: AsyncElasticsearch,
        name: str | None = None,
        *,
        refresh: bool = True,
    ) -> None:
        self.index = index
        self.alias = index_name(settings, index.physical)
        self.published = index_name(settings, index.name)
        self.name = name or self.alias
        self._client = client
        self._reads = frozenset(index.reads)
        personal = index.personal
        self._graves = (
            None if personal is None else Graves(settings, client, index_name(settings, f"{index.name}_v*"), personal)
        )
        self._refresh: Refresh = "wait_for" if refresh else "false"

    async def exists(self) -> bool:
        """Whether the runner's alias shows an index."""
        return bool(await self._client.indices.exists(index=self.alias))

    async def create(self, physical: str | None = None) -> None:
        """Make the index, as the target of the runner's alias unless it is given another name."""
        aliases: dict[str, Any] = {} if physical else {self.alias: {}}
        try:
            await self._client.indices.create(
                index=physical or f"{self.alias}_1",
                mappings=dict(self.index.mapping),
                settings={**SETTINGS, **(graves.SETTINGS if self._graves else {})},
                aliases=aliases,
            )
        except BadRequestError as fault:
            if fault.error != "resource_already_exists_exception":  # another runner was quicker
                raise

    async def live(self) -> str:
        """The index behind the runner's alias.

        Raises:
            Broken: there is not exactly one.
        """
        found = await self.targets(self.alias)
        if len(found) != 1:
            raise Broken(f"alias {self.alias} shows {found or 'no index'}: remove it, and the projector makes it anew")
        return found[0]

    async def targets(self, alias: str) -> list[str]:
        """Indices behind an alias."""
        try:
            return list(await self._client.indices.get_alias(name=alias))
        except NotFoundError:
            return []

    async def give_way(self, other: str) -> None:
        """Let another index be written to and, where this one is, be published; this one is kept, with no alias."""
        live = await self.live()
        shown = live in await self.targets(self.published)
        aliases = [self.alias, self.published] if shown else [self.alias]
        steps = [("add", other), ("remove", live)]
        await self._client.indices.update_aliases(
            actions=[{step: {"index": index, "alias": alias}} for alias in aliases for step, index in steps]
        )

    async def point(self, alias: str, target: str) -> None:
        """Let an alias show `target` and nothing else, in one step."""
        others = [name for name in await self.targets(alias) if name != target]
        gone: list[Mapping[str, Any]] = [{"remove": {"index": name, "alias": alias}} for name in others]
        await self._client.indices.update_aliases(actions=[*gone, {"add": {"index": target, "alias": alias}}])

    async def fold(self, batch: Batch) -> None:
        """Bring a batch into the index; what it has seen before is left alone.

        Raises:
            Unfit: a document does not fit the mapping.
            Unavailable: Elasticsearch had no room for some documents.
        """
        erased = [one.event.user_id for one in batch.recorded([UserErased])] if self._graves is not None else []
        if self._graves is not None:
            await self._graves.dig(erased)
        wanted = batch.recorded(self._reads)
        for start in range(0, len(wanted), AT_A_TIME):
            is_last = start + AT_A_TIME >= len(wanted)  # what makes it visible, makes visible what came before it
            await self._fold_unless_erased(wanted[start : start + AT_A_TIME], self._refresh if is_last else "false")
        if self._graves is not None:
            await self._graves.clear(erased)

    async def _fold_unless_erased(self, events: Sequence[Recorded], refresh: Refresh) -> None:
        """Bring events into the index, but not those about people who are erased, be it in this very moment."""
        if self._graves is None:
            await self._fold(events, refresh)
            return
        person = attrgetter(f"event.{self.index.personal}")
        people = {str(person(one)) for one in events}
        erased = await self._graves.among(people)
        await self._fold([one for one in events if person(one) not in erased], refresh)
        await self._graves.clear(await self._graves.among(people))

    async def _fold(self, events: Sequence[Recorded], refresh: Refresh) -> None:
        if self.index.merges and len(topics_of(self.index)) > 1:
            await self._merge(events, refresh)
            return
        changes = [(self.index.document(e.event, e.meta, e.position), e.position.offset + 1) for e in events]
        pending = await self._present({change.id for change, _ in changes}) if self.index.merges else {}
        written: set[str] = set()
        for change, version in changes:
            before = pending.setdefault(change.id, Pending())
            if version > before.version:
                pending[change.id] = merged(before, change, version)
                written.add(change.id)
        await self._write({i: p for i, p in pending.items() if i in written}, refresh)

    async def _merge(self, events: Sequence[Recorded], refresh: Refresh) -> None:
        merging = Merging(self._client, self.name, is_alias=self.name == self.alias, check=self._check, refresh=refresh)
        await merging.fold([(self.index.document(e.event, e.meta, e.position), e.position) for e in events])

    async def _present(self, ids: Iterable[str]) -> dict[str, Pending]:
        answer = await self._client.mget(index=self.name, ids=sorted(ids))
        return {d["_id"]: Pending(d["_version"], d["_source"]) for d in answer["docs"] if d.get("found")}

    async def _write(self, pending: Mapping[str, Pending], refresh: Refresh) -> None:
        await together(*(self._write_share(share, refresh) for share in shares(pending) if share))

    async def _write_share(self, pending: Mapping[str, Pending], refresh: Refresh) -> None:
        answer = await self._client.bulk(
            index=self.name,
            operations=_operations(pending),
            refresh=refresh,
            filter_path=WRITTEN,
            require_alias=self.name == self.alias,  # never make an index by writing to a name that is not there
        )
        for item in answer["items"]:
            for result in item.values():
                self._check(result)

    def _check(self, result: Mapping[str, Any]) -> None:
        if result["status"] < 300 or result["status"] == CONFLICT or result.get("result") == "not_found":
            return
        reason = result.get("error", {}).get("reason", "no reason given")
        if result["status"] == 400:
            raise Unfit(f"{self.index.name} cannot take document {result['_id']}: {reason}")
        if result["status"] == 404:
            raise Broken(f"the index of {self.index.name} is gone ({reason}): rebuild it")
        raise Unavailable(f"Elasticsearch did not write {result['_id']}: {reason}")


def merged(before: Pending, change: Put | Drop, version: int) -> Pending:
    """A document after one more change."""
    if isinstance(change, Drop):
        return Pending(version, None)
    return Pending(version, {**(before.fields or {}), **change.fields})


def _operations(pending: Mapping[str, Pending]) -> list[Mapping[str, Any]]:
    operations: list[Mapping[str, Any]] = []
    for document_id, document in pending.items():
        head = {"_id": document_id, "version": document.version, "version_type": "external"}
        if document.fields is None:
            operations.append({"delete": head})
        else:
            operations += [{"index": head}, document.fields]
    return operations
