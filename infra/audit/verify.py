"""Kafka and archive as one against the signed checkpoints: every record changed, removed or added is named."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from infra.audit.chain import Chains, Heads, Link, unheld
from infra.audit.comparison import Comparison, PartitionReport
from infra.audit.finding import Finding
from infra.audit.keys import PublicKeys
from infra.audit.leafstore import LeafStore
from infra.audit.ledger import open_ledger
from infra.audit.partition import Partition, followed
from infra.audit.source import Source
from infra.kafka.fetch import open_client
from infra.kafka.ranges import kafka_ranges, ranges_between
from infra.kafka.records import Decoder
from infra.settings import Settings
from schemas.errors import Invalid, NotFound
from schemas.models import OffsetRange

Tell = Callable[[PartitionReport], None]


@dataclass(frozen=True)
class Wanted:
    """What is to be verified.

    Attributes:
        topics: all that get checkpoints when empty.
        since: from the checkpoints on that cover this time; `until` likewise, not included.
        ranges: only checkpoints that cover some of these offsets, when there are any.
        heads: checkpoints that somebody kept and the chains have to hold.
    """

    topics: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    ranges: Sequence[OffsetRange] = ()
    heads: Heads = field(default_factory=dict)


@dataclass
class Report:
    """What a verification came to.

    Attributes:
        partitions: one for each that was looked at.
        findings: about `audit` as a whole.
    """

    partitions: list[PartitionReport] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def faults(self) -> list[Finding]:
        """Everything that was found, wherever."""
        return [*self.findings, *(finding for part in self.partitions for finding in part.findings)]

    @property
    def checkpoints(self) -> int:
        """How many were computed again."""
        return sum(part.checkpoints for part in self.partitions)

    @property
    def records(self) -> int:
        """How many were read for it."""
        return sum(part.records for part in self.partitions)

    @property
    def uncovered(self) -> int:
        """Offsets at the ends of partitions that no checkpoint covers yet."""
        return sum(part.uncovered for part in self.partitions)


async def verify(
    settings: Settings, decoder: Decoder, keys: PublicKeys, wanted: Wanted, tell: Tell = lambda _: None
) -> Report:
    """Compute checkpoints again from the log, and from the archive where Kafka has deleted its beginning.

    Args:
        keys: whose signatures count.
        tell: called with each partition that is done.

    Raises:
        Invalid: a topic gets no checkpoints, or a range is none.
        NotFound: there is no checkpoint of what is wanted.
        Unavailable: brokers or archive do not answer.
        Incompatible: `audit` itself is damaged, or, where times are given, the archive that has to say what lies
            between them.
    """
    topics = _topics(wanted)
    async with open_ledger(settings, decoder, keys) as ledger:
        report = Report(findings=[_foreign(place.topic, place, why) for place, why in ledger.foreign])
        report.findings += [_unheld(log, wanted.heads) for log in unheld(ledger.chains, wanted.heads)]
        chosen = await _chosen(settings, ledger.chains, topics, wanted)
    now = {Partition(part.topic, part.partition): part for part in await kafka_ranges(settings, topics)}
    store = LeafStore(settings)
    async with open_client(settings, topics) as client:
        for log, links in chosen.items():
            comparison = Comparison(Source(client, settings, log, now[log]), store, log)
            report.partitions.append(await comparison.run(ledger.chains.of(str(log)), links))
            tell(report.partitions[-1])
    if not report.checkpoints and not report.faults:
        raise NotFound(
            "there is no checkpoint of that yet, so nothing can be verified: `retrace serve notary` makes them",
            code="no_checkpoint",
        )
    return report


def _topics(wanted: Wanted) -> Sequence[str]:
    topics = sorted({*wanted.topics, *(part.topic for part in wanted.ranges)}) or followed()
    if unknown := sorted(set(topics) - set(followed())):
        raise Invalid(f"{', '.join(unknown)} gets no checkpoints: choose among {', '.join(followed())}", code="topic")
    return topics


async def _chosen(
    settings: Settings, chains: Chains, topics: Sequence[str], wanted: Wanted
) -> Mapping[Partition, list[Link]]:
    """The links of each partition that cover what is wanted."""
    if not wanted.ranges and wanted.since is None and wanted.until is None:
        whole = [Partition(part.topic, part.partition) for part in await kafka_ranges(settings, topics)]
        return {log: chains.of(str(log)).links for log in whole}
    windows = wanted.ranges or await ranges_between(settings, topics, wanted.since, wanted.until)
    by_log: dict[Partition, list[OffsetRange]] = {}
    for window in windows:
        by_log.setdefault(Partition(window.topic, window.partition), []).append(window)
    return {log: [link for link in chains.of(str(log)).links if _covers(link, parts)] for log, parts in by_log.items()}


def _covers(link: Link, windows: Sequence[OffsetRange]) -> bool:
    return any(link.checkpoint.first < window.end and link.checkpoint.end > window.first for window in windows)


def _foreign(topic: str, place: object, why: str) -> Finding:
    _, partition, offset = str(place).split("/")
    return Finding("foreign", f"{topic}/{partition}", int(offset), int(offset), why)


def _unheld(log: str, heads: Heads) -> Finding:
    kept = heads[log]
    why = f"checkpoint {kept['number']}, hash {str(kept['sha256'])[:16]}…, was kept elsewhere and is not in the chain"
    return Finding("unheld", log, 0, 0, why)
