"""One partition of the log against its checkpoints."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from infra.audit.chain import Chain, Link
from infra.audit.finding import Finding, Kind, differences
from infra.audit.leaf import Leaves
from infra.audit.leafstore import LeafStore
from infra.audit.merkle import root
from infra.audit.partition import Partition
from infra.audit.scan import Flaw, Scanned
from infra.audit.source import Source
from schemas.audit import LogCheckpointed
from schemas.errors import Incompatible, NotFound

WORDS: dict[Kind, str] = {
    "changed": "the record is not the one that was signed",
    "missing": "there was a record when this was signed, and there is none",
    "inserted": "there was no such record when this was signed",
}


@dataclass
class PartitionReport:
    """What a verification of one partition came to.

    Attributes:
        checkpoints: computed again, from Kafka or the archive.
        records: read for it.
        archived: ranges of offsets that the archive gave, because Kafka has deleted them: first, and end not included.
        first: where the first of these checkpoints begins.
        end: where the last one ends.
        log_end: where the partition ends.
        overtaken: checkpoints of notaries that came second, which prove nothing.
    """

    log: str
    checkpoints: int = 0
    records: int = 0
    first: int = 0
    end: int = 0
    log_end: int = 0
    overtaken: int = 0
    archived: list[tuple[int, int]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def uncovered(self) -> int:
        """Offsets at the end that no checkpoint covers yet."""
        return max(self.log_end - self.end, 0)


class Comparison:
    """Computes checkpoints again.

    Args:
        source: the partition as it can be read now.
        store: the leaf hashes.
    """

    def __init__(self, source: Source, store: LeafStore, log: Partition) -> None:
        self._source = source
        self._store = store
        self._log = log
        self._end = source.kafka.end
        self.report = PartitionReport(str(log), first=source.kafka.first, end=source.kafka.first, log_end=self._end)

    async def run(self, chain: Chain, links: Sequence[Link]) -> PartitionReport:
        """Hold these links of the chain against the log.

        Raises:
            Unavailable: brokers or archive do not answer.
        """
        report = self.report
        report.overtaken = chain.overtaken
        report.findings += [_on_audit(link) for link in chain.faults]
        if links:
            report.first, report.end = links[0].checkpoint.first, max(link.checkpoint.end for link in links)
            report.findings += self._cut(links)
        for run in runs(links):
            await self._run([link.checkpoint for link in run])
        report.findings += self._uncovered(links)
        return report

    async def _run(self, checkpoints: Sequence[LogCheckpointed]) -> None:
        """Checkpoints that follow each other, in one pass."""
        todo = list(checkpoints)
        first, end = todo[0].first, min(todo[-1].end, self._end)
        read = Scanned(first)
        async with aclosing(self._source.read(first, end)) as pieces:
            async for piece in pieces:
                self._take(piece, read, end)
                while todo and todo[0].end <= read.end:
                    await self._compare(todo.pop(0), read)
        if read.fault:
            self._find("unreadable", read.end, todo[-1].end - 1, f"what was signed cannot be read: {read.fault}")
            return
        for checkpoint in todo:  # the log ends before they do
            await self._compare(checkpoint, read)

    def _take(self, piece: Scanned, read: Scanned, end: int) -> None:
        """Add a piece to what has been read and is not compared yet."""
        report, flaws = self.report, [flaw for flaw in piece.flaws if flaw.first < end]
        report.records += len(piece.leaves)
        report.findings += [Finding(f.kind, report.log, f.first, f.last, f.detail) for f in flaws]
        if piece.archived:
            joined = bool(report.archived) and report.archived[-1][1] == read.end
            first = report.archived.pop()[0] if joined else read.end
            report.archived.append((first, piece.end))
        read.leaves.extend(piece.leaves)
        read.flaws += [flaw for flaw in flaws if flaw.blind]
        read.end, read.fault = piece.end, piece.fault

    async def _compare(self, checkpoint: LogCheckpointed, read: Scanned) -> None:
        mine = read.leaves.before(checkpoint.end)
        read.leaves = read.leaves.since(checkpoint.end)
        flaws = [flaw for flaw in read.flaws if flaw.first < checkpoint.end]
        read.flaws = [flaw for flaw in read.flaws if flaw.last >= checkpoint.end]
        if any(flaw.first <= checkpoint.first and checkpoint.end <= flaw.last + 1 for flaw in flaws):
            return  # nothing of it is there, which has been told
        self.report.checkpoints += 1
        computed = await asyncio.to_thread(root, mine.hashes)
        if flaws or len(mine) != checkpoint.records or computed.hex() != checkpoint.root:
            await self._name(checkpoint, mine, flaws)

    async def _name(self, checkpoint: LogCheckpointed, mine: Leaves, flaws: Sequence[Flaw]) -> None:
        """Say which records of a range are not what was signed."""
        try:
            signed = await asyncio.to_thread(self._store.get, checkpoint.leaves_sha256)
        except (NotFound, Incompatible) as fault:
            why = f"something in the range is not what was signed, and which record cannot be said: {fault.detail}"
            self._find("unnamed", checkpoint.first, checkpoint.end - 1, why)
            return
        told = [
            (kind, offset)
            for kind, offset in differences(signed, mine)
            if offset < self._end and not any(flaw.first <= offset <= flaw.last for flaw in flaws)
        ]
        for kind, first, last in grouped(told):
            self._find(kind, first, last, WORDS[kind])
        if not (told or flaws or checkpoint.end > self._end):
            why = "the records are those that were kept when this was signed, and the signed root is not theirs"
            self._find("unnamed", checkpoint.first, checkpoint.end - 1, why)

    def _cut(self, links: Sequence[Link]) -> Iterator[Finding]:
        """Signed offsets that lie behind the end of the log."""
        if self.report.end > self._end:
            number = next(link.checkpoint.number for link in links if link.checkpoint.end > self._end)
            why = f"the log ends at {self._end}, and checkpoint {number} covers what came after"
            yield Finding("cut", str(self._log), max(self._end, self.report.first), self.report.end - 1, why)

    def _uncovered(self, links: Sequence[Link]) -> Iterator[Finding]:
        reached = links[0].checkpoint.first if links else 0
        for link in links:
            if link.checkpoint.first > reached and link.verdict == "broken":
                why = "the checkpoints of these offsets are gone, so nothing can be said about them"
                yield Finding("uncovered", str(self._log), reached, link.checkpoint.first - 1, why)
            reached = link.checkpoint.end

    def _find(self, kind: Kind, first: int, last: int, detail: str) -> None:
        self.report.findings.append(Finding(kind, str(self._log), first, last, detail))


def runs(links: Iterable[Link]) -> Iterator[list[Link]]:
    """Links in groups in which each begins where the one before ends."""
    run: list[Link] = []
    for link in links:
        if run and link.checkpoint.first != run[-1].checkpoint.end:
            yield run
            run = []
        run.append(link)
    if run:
        yield run


def grouped(told: Iterable[tuple[Kind, int]]) -> Iterator[tuple[Kind, int, int]]:
    """The same with neighbours of one kind together: kind, first and last offset."""
    kind: Kind | None = None
    first = last = 0
    for now, offset in told:
        if kind == now and offset == last + 1:
            last = offset
            continue
        if kind is not None:
            yield kind, first, last
        kind, first, last = now, offset, offset
    if kind is not None:
        yield kind, first, last


def _on_audit(link: Link) -> Finding:
    checkpoint = link.checkpoint
    name = f"checkpoint {checkpoint.number} of {checkpoint.log}"
    match link.verdict:
        case "forged":
            kind: Kind = "forged"
            detail = f"the signature of {name} is not that of key {checkpoint.key_id}"
        case "unknown_key":
            kind = "unknown_key"
            detail = f"{name} is signed under key {checkpoint.key_id}, which is not known: give it with --key"
        case _:
            kind = "broken"
            detail = f"{name} follows one that is not there: checkpoints before it were removed or changed"
    place = link.position
    return Finding(kind, f"{place.topic}/{place.partition}", place.offset, place.offset, detail)
