"""A decision is proven to a third party that has the public key and one file of ours."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from uuid6 import uuid7

from console.audit import checked
from infra.audit import keys, verifier
from infra.audit.proof import prove
from infra.kafka.facts import FactWriter
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.decisions import RecommendationServed, ScoredItem
from schemas.envelope import Meta
from schemas.errors import Incompatible, NotFound, Rejected
from schemas.position import Position

from .auditing import audited, covered, notary_here

VERIFIER = Path(verifier.__file__)


def served(number: int) -> tuple[RecommendationServed, Meta]:
    event = RecommendationServed(
        user_id=f"user {number % 7} ü",
        decision_id=str(uuid7()),
        model="films",
        source="popular",
        positions=(),
        history_length=0,
        history_sha256="",
        candidates=0,
        limit=10,
        items=tuple(ScoredItem(item_id=f"i{n}", score=float(n)) for n in range(number % 30)),
        served_at=datetime.now(UTC),
        latency_ms=1.0,
        server="here/1",
        sequence=number + 1,
    )
    return event, Meta(id=uuid7(), type=event.AVRO, source="test", subject=event.user_id, time=event.served_at)


@dataclass
class Given:
    """Decisions under checkpoints, where they stand, and the notary's public key."""

    settings: Settings
    decisions: list[tuple[str, Position]]
    pem: str

    async def proof(self, number: int) -> dict[str, Any]:
        decision_id, position = self.decisions[number]
        decoder = await open_decoder(self.settings)
        return await prove(self.settings, decoder, keys.public_keys(self.settings), decision_id, position)


@pytest.fixture
async def decided(settings: Settings, tmp_path: Path) -> Given:
    """Some decisions, signed."""
    mine = audited(settings, tmp_path, records=37)
    facts = [served(number) for number in range(120)]
    async with notary_here(mine):
        decoder = await open_decoder(mine)
        async with FactWriter(mine, decoder.codec) as writer:
            positions = await writer.append_all(facts)
        await covered(mine, ("decisions",))
    pem = keys.pem(keys.open_signer(mine).public).decode()
    return Given(mine, [(event.decision_id, place) for (event, _), place in zip(facts, positions, strict=True)], pem)


async def test_a_third_party_needs_the_key_and_one_file(decided: Given, tmp_path: Path) -> None:
    """The verifier runs by itself, with nothing of ours and nothing installed beside it."""
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "verifier.py").write_bytes(VERIFIER.read_bytes())
    (alone / "public.pem").write_text(decided.pem)
    for number in (0, 60, 119):
        (alone / "proof.json").write_text(json.dumps(await decided.proof(number)))
        run = _alone(alone)
        assert run.returncode == 0, run.stderr
        shown = json.loads(run.stdout)
        decision_id, position = decided.decisions[number]
        assert (shown["decision"], shown["position"]) == (decision_id, str(position))
        assert shown["user"] == f"user {number % 7} ü"
    assert len(VERIFIER.read_text().splitlines()) < 150
    (alone / "proof.json").write_text((alone / "proof.json").read_text()[:-200])
    run = _alone(alone)
    assert run.returncode == 1
    assert run.stderr.startswith("REFUSED")


def _alone(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-I", "-S", "verifier.py", "proof.json", "public.pem"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


async def test_every_alteration_is_refused(decided: Given) -> None:
    """Each field of the proof, altered by itself in every way its type allows; added and missing ones too."""
    proof = await decided.proof(77)
    assert checked(json.dumps(proof), decided.pem)["decision"] == proof["decision"]

    @hypothesis_settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def altered_is_refused(chance: random.Random) -> None:
        altered = deepcopy(proof)
        alter(altered, chance)
        if altered != proof or repr(altered) != repr(proof):
            with pytest.raises(Rejected):
                checked(json.dumps(altered), decided.pem)

    altered_is_refused()
    for place in list(places(proof)):
        for chance in (random.Random(seed) for seed in range(4)):
            altered = deepcopy(proof)
            at, name = walk(altered, place)
            at[name] = changed(at[name], chance)
            if repr(altered) != repr(proof):
                with pytest.raises(Rejected):
                    checked(json.dumps(altered), decided.pem)


def places(held: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value."""
    entries = held.items() if isinstance(held, dict) else enumerate(held) if isinstance(held, list) else ()
    for name, value in entries:
        yield (*before, name)
        yield from places(value, (*before, name))


def walk(held: Any, place: tuple[Any, ...]) -> tuple[Any, Any]:
    for name in place[:-1]:
        held = held[name]
    return held, place[-1]


def alter(proof: dict[str, Any], chance: random.Random) -> None:
    """Change, remove or add one thing."""
    at, name = walk(proof, chance.choice(list(places(proof))))
    match chance.randrange(8):
        case 0:
            del at[name]
        case 1 if isinstance(at, dict):
            at[f"{name}x"] = at[name]
        case 1 | 2 if isinstance(at, list):
            at.insert(name, deepcopy(at[name]))
        case _:
            at[name] = changed(at[name], chance)


def changed(value: Any, chance: random.Random) -> Any:
    """Another value, most often of the same type and near."""
    if chance.random() < 0.1:
        return chance.choice([None, True, 0, -1, 1.0, "", "-", [], {}, [None], 2**70])
    match value:
        case bool() | float() | None:
            return 7
        case int():
            return chance.choice([value + 1, value - 1, -value, value * 2, float(value), str(value)])
        case str() if value:
            place = chance.randrange(len(value))
            other = chance.choice("0123456789abcdefABCDEF -\n")
            return chance.choice(
                [value[:place] + other + value[place + 1 :], value[:place], value.upper(), f" {value}", f"{value}\n"]
            )
        case str():
            return chance.choice(["0", "-", "\n", "00"])
        case list():
            return chance.choice([value[:-1], value[1:], value[::-1], [*value, "00" * 32]])
        case _:
            return list(value)


async def test_bad_input_is_told_in_a_sentence(decided: Given) -> None:
    """Each with what can be done about it."""
    proof = await decided.proof(3)
    other = keys.pem(Ed25519PrivateKey.generate().public_key()).decode()
    with pytest.raises(Rejected, match="is signed under key"):
        checked(json.dumps(proof), other)
    with pytest.raises(Rejected, match="no Ed25519 key in PEM"):
        checked(json.dumps(proof), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(Rejected, match="get the proof and the public key again"):
        checked(json.dumps(proof)[:100], decided.pem)
    decoder = await open_decoder(decided.settings)
    async with FactWriter(decided.settings, decoder.codec) as writer:
        event, meta = served(1)
        position = await writer.append(event, meta)
    with pytest.raises(NotFound, match="no checkpoint covers"):
        await prove(decided.settings, decoder, keys.public_keys(decided.settings), event.decision_id, position)
    with pytest.raises(Incompatible, match="another decision"):
        await prove(
            decided.settings, decoder, keys.public_keys(decided.settings), event.decision_id, decided.decisions[0][1]
        )


async def test_a_proof_does_not_need_the_kept_leaf_hashes(decided: Given, tmp_path: Path) -> None:
    """They are a convenience; the log has everything."""
    for path in (tmp_path / "artifacts" / "leaves").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    proof = await decided.proof(50)
    assert checked(json.dumps(proof), decided.pem)["decision"] == proof["decision"]


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 511))
@hypothesis_settings(max_examples=40, deadline=None)
def test_signatures_are_verified_as_rfc_8032_says(seed: bytes, message: bytes, flipped: int) -> None:
    """The verifier has its own arithmetic, so that it needs no package; it has to agree with a real one."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = key.sign(message)
    assert verifier._verifies(signature, message, public)
    assert not verifier._verifies(signature, message + b"x", public)
    wrong = bytearray(signature)
    wrong[flipped // 8] ^= 1 << flipped % 8
    with suppress(ValueError):
        assert not verifier._verifies(bytes(wrong), message, public)


def test_a_signature_has_one_form() -> None:
    """S plus the order of the group verifies in sloppy implementations: a second signature nobody made."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signature = key.sign(b"m")
    moved = signature[:32] + (int.from_bytes(signature[32:], "little") + verifier.L).to_bytes(32, "little")
    with pytest.raises(ValueError, match="signature"):
        verifier._verifies(moved, b"m", key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
