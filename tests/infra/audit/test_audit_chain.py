"""The chain of checkpoints: one for each partition, whoever signs."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from infra.audit.chain import Chain, Chains, Head, heads_of, unheld
from infra.audit.finding import differences
from infra.audit.keys import Signer
from infra.audit.leaf import Leaves
from infra.audit.statement import digest, is_signed_by, signed
from schemas.audit import LogCheckpointed
from schemas.position import Position

OURS, OTHER = Signer(Ed25519PrivateKey.generate()), Signer(Ed25519PrivateKey.generate())
KEYS = {OURS.key_id: OURS.public}


def after(head: Head, end: int, signer: Signer = OURS, **changed: Any) -> LogCheckpointed:
    checkpoint = LogCheckpointed(
        log="decisions/0",
        origin="test",
        number=head.number + 1,
        first=head.end or 0,
        end=end,
        records=end - (head.end or 0),
        root="00" * 32,
        leaves_sha256="11" * 32,
        previous=head.sha256,
        signed_at=datetime(2026, 1, 1, tzinfo=UTC),
        key_id="",
        signature="",
    )
    return signed(replace(checkpoint, **changed), signer)


def folded(*checkpoints: LogCheckpointed) -> tuple[Chains, list[str]]:
    chains = Chains(KEYS)
    return chains, [chains.fold(c, Position("audit", 0, place)) for place, c in enumerate(checkpoints)]


def three() -> list[LogCheckpointed]:
    one = after(Head(), 10)
    two = after(Head.of(one), 20)
    return [one, two, after(Head.of(two), 30)]


def chain_of(chains: Chains) -> Chain:
    return chains.of("decisions/0")


def test_each_follows_the_one_before() -> None:
    """The plain case."""
    chains, verdicts = folded(*three())
    assert verdicts == ["counts"] * 3
    assert heads_of(chains) == {"decisions/0": {"number": 3, "sha256": digest(three()[2])}}


def test_of_two_notaries_the_first_to_land_counts() -> None:
    """Both follow the same checkpoint; the order of the topic decides, and the second adds nothing."""
    one = after(Head(), 10)
    mine, yours = after(Head.of(one), 20), after(Head.of(one), 25)
    chains, verdicts = folded(one, yours, mine, after(Head.of(yours), 40))
    assert verdicts == ["counts", "counts", "overtaken", "counts"]
    assert [link.checkpoint.end for link in chain_of(chains).links] == [10, 25, 40]
    assert not chain_of(chains).faults


def test_a_repeat_after_a_crash_adds_nothing() -> None:
    """An append that was not confirmed may have happened, and is tried again."""
    one, two, _ = three()
    assert folded(one, one, two, two)[1] == ["counts", "overtaken", "counts", "overtaken"]


def test_a_checkpoint_that_was_removed_breaks_the_chain() -> None:
    """Its absence shows in the next one; what comes after the break can still be verified."""
    one, _, three_ = three()
    chains, verdicts = folded(one, three_)
    assert verdicts == ["counts", "broken"]
    assert [link.checkpoint.number for link in chain_of(chains).links] == [1, 3]


def test_a_forged_checkpoint_neither_counts_nor_stops_the_chain() -> None:
    """Whoever can write to the topic can only be noticed."""
    one, two, three_ = three()
    forged = replace(after(Head.of(one), 15), signature=one.signature)
    foreign = after(Head.of(one), 15, OTHER)
    chains, verdicts = folded(one, forged, foreign, two, three_)
    assert verdicts == ["counts", "forged", "unknown_key", "counts", "counts"]
    assert [link.verdict for link in chain_of(chains).faults] == ["forged", "unknown_key"]


FIELDS: dict[str, Any] = {
    "log": "decisions/1",
    "origin": "elsewhere",
    "number": 5,
    "first": 1,
    "end": 99,
    "records": 3,
    "root": "ff" * 32,
    "leaves_sha256": "ff" * 32,
    "previous": "ff" * 32,
    "signed_at": datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    "key_id": "0" * 16,
}


@given(st.sampled_from(sorted(FIELDS)))
def test_every_field_is_under_the_signature(name: str) -> None:
    """A field that is not could be changed by anybody."""
    checkpoint = after(Head(), 10)
    assert is_signed_by(checkpoint, OURS.public)
    assert not is_signed_by(replace(checkpoint, **{name: FIELDS[name]}), OURS.public)


def test_a_chain_that_was_cut_does_not_hold_what_somebody_kept() -> None:
    """Cutting the log and its checkpoints together leaves no trace here, and is found by whoever kept a head."""
    chains, _ = folded(*three())
    kept = heads_of(chains)
    assert unheld(chains, kept) == []
    assert unheld(folded(*three()[:2])[0], kept) == ["decisions/0"]
    later = after(Head.of(three()[2]), 44)
    assert unheld(folded(*three(), later)[0], kept) == []


LEAVES = st.dictionaries(st.integers(0, 30), st.binary(min_size=1, max_size=2), max_size=20)


@given(LEAVES, LEAVES)
def test_differences_are_exactly_what_was_done(then: dict[int, bytes], now: dict[int, bytes]) -> None:
    """No record is accused that is as it was, and none is spared that is not."""
    told = list(differences(_leaves(then), _leaves(now)))
    assert [o for k, o in told if k == "missing"] == sorted(then.keys() - now.keys())
    assert [o for k, o in told if k == "inserted"] == sorted(now.keys() - then.keys())
    assert [o for k, o in told if k == "changed"] == sorted(o for o in then.keys() & now.keys() if then[o] != now[o])


def test_a_second_record_at_an_offset_is_one_too_many() -> None:
    """Overlapping batches give readers two records for one place."""
    told = list(differences(Leaves([1, 2], [b"a", b"b"]), Leaves([1, 2, 2], [b"a", b"b", b"x"])))
    assert told == [("inserted", 2)]


def _leaves(held: dict[int, bytes]) -> Leaves:
    return Leaves(sorted(held), [held[offset] for offset in sorted(held)])


def test_a_key_that_was_made_meanwhile_is_looked_up_again() -> None:
    """A second notary that refused what the first one signed with its new key would break the chain for good."""
    first = after(Head(), 10)
    second = after(Head.of(first), 20, OTHER)
    chains = Chains(KEYS, again=lambda: {**KEYS, OTHER.key_id: OTHER.public})
    verdicts = [chains.fold(c, Position("audit", 0, place)) for place, c in enumerate((first, second))]
    assert verdicts == ["counts", "counts"]
    assert folded(first, second)[1] == ["counts", "unknown_key"]
