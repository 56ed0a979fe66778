"""The chain of checkpoints of each partition, folded from `audit`.

The rule: a checkpoint counts when it is signed by a known key and follows the last one of its partition that counts:
it has the next number, names that one's hash, and begins where that one ends. The topic's order decides between two
notaries that follow the same checkpoint; the second one to land is void for every reader, so there is one chain
however many notaries there are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from infra.audit.keys import PublicKeys
from infra.audit.statement import digest, is_signed_by
from schemas.audit import LogCheckpointed
from schemas.position import Position

Verdict = Literal["counts", "overtaken", "unknown_key", "forged", "broken"]


@dataclass(frozen=True, slots=True)
class Head:
    """The last checkpoint of a partition.

    Attributes:
        sha256: its hash; empty before the first.
        end: where the next one begins; None before the first, which begins where the log does.
    """

    number: int = 0
    sha256: str = ""
    end: int | None = None

    @classmethod
    def of(cls, checkpoint: LogCheckpointed) -> "Head":
        """The head that this checkpoint makes."""
        return cls(checkpoint.number, digest(checkpoint), checkpoint.end)

    def is_before(self, checkpoint: LogCheckpointed) -> bool:
        """Whether a checkpoint is the next one."""
        return (
            checkpoint.number == self.number + 1
            and checkpoint.previous == self.sha256
            and checkpoint.first in (self.end, checkpoint.first if self.end is None else self.end)
            and checkpoint.first < checkpoint.end
        )


@dataclass(frozen=True, slots=True)
class Link:
    """A checkpoint as it stands on `audit`."""

    checkpoint: LogCheckpointed
    position: Position
    verdict: Verdict = "counts"


@dataclass
class Chain:
    """The checkpoints of one partition.

    Attributes:
        links: those to verify the log by, in their order; where the chain is broken it goes on behind the break.
        faults: what is there under the partition's name and should not be, or follows nothing that is there.
        overtaken: checkpoints of notaries that came second.
    """

    head: Head = Head()
    links: list[Link] = field(default_factory=list)
    faults: list[Link] = field(default_factory=list)
    overtaken: int = 0


class Chains:
    """The chains of all partitions.

    Args:
        keys: whose signatures count.
        keep: whether the checkpoints are kept; whoever only goes on with a chain needs its head alone.
        again: looks keys up again, where a key may be made while the topic is followed; a verdict is for good.
    """

    def __init__(self, keys: PublicKeys, *, keep: bool = True, again: Callable[[], PublicKeys] | None = None) -> None:
        self._keys = keys
        self._again = again
        self._keep = keep
        self.by_log: dict[str, Chain] = {}

    def of(self, log: str) -> Chain:
        """The chain of `topic/partition`."""
        return self.by_log.setdefault(log, Chain())

    def fold(self, checkpoint: LogCheckpointed, position: Position) -> Verdict:
        """Take the next one of the topic; what became of it."""
        chain = self.of(checkpoint.log)
        verdict = self._verdict(chain.head, checkpoint)
        if verdict in ("counts", "broken"):
            chain.head = Head.of(checkpoint)
        if self._keep:
            _keep(chain, Link(checkpoint, position, verdict))
        return verdict

    def _verdict(self, head: Head, checkpoint: LogCheckpointed) -> Verdict:
        if checkpoint.key_id not in self._keys and self._again is not None:
            self._keys = self._again()
        key = self._keys.get(checkpoint.key_id)
        if key is None:
            return "unknown_key"
        if not is_signed_by(checkpoint, key):
            return "forged"
        if head.is_before(checkpoint):
            return "counts"
        return "overtaken" if checkpoint.number <= head.number else "broken"


def _keep(chain: Chain, link: Link) -> None:
    if link.verdict in ("counts", "broken"):
        chain.links.append(link)
    if link.verdict == "overtaken":
        chain.overtaken += 1
    elif link.verdict != "counts":
        chain.faults.append(link)


Heads = Mapping[str, Mapping[str, int | str]]
"""By `topic/partition`: number and hash of its last checkpoint, for somebody to keep where nobody can change them."""


def heads_of(chains: Chains) -> dict[str, dict[str, int | str]]:
    """The heads of all chains that have begun."""
    return {
        log: {"number": chain.head.number, "sha256": chain.head.sha256}
        for log, chain in sorted(chains.by_log.items())
        if chain.links
    }


def unheld(chains: Chains, heads: Heads) -> list[str]:
    """Partitions whose chain no longer holds the checkpoint that somebody kept."""
    return [
        log
        for log, kept in heads.items()
        if not any(
            link.checkpoint.number == kept["number"] and digest(link.checkpoint) == kept["sha256"]
            for link in chains.of(log).links
        )
    ]
