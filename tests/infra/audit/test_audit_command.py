"""`retrace audit` as people call it: what it prints, and what its exit status says."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from infra.audit import keys
from infra.kafka.facts import FactWriter
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment

from .auditing import ROOT, audited, covered, notary_here
from .test_audit_proof import served

pytestmark = pytest.mark.long


async def audit(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    """`retrace audit ...`: exit status, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "audit", *arguments),
        env=child_environment(settings),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_from_a_signed_log_to_a_proof(settings: Settings, tmp_path: Path) -> None:
    """The whole way, each step by its command, with results on standard output alone."""
    mine = audited(settings, tmp_path)
    status, _, told = await audit(mine, "verify")
    assert (status, "no checkpoint of that yet" in told) == (1, True)
    decisions = [served(number) for number in range(30)]
    async with notary_here(mine):
        async with FactWriter(mine, (await open_decoder(mine)).codec) as writer:
            await writer.append_all(decisions)
        await covered(mine, ("decisions",))

    status, out, told = await audit(mine, "verify", "--topic", "decisions", "-o", "json")
    report = json.loads(out)
    assert (status, report["whole"], report["records"], report["uncovered"]) == (0, True, 30, 0)
    status, out, _ = await audit(mine, "verify", "--topic", "decisions", "--covered")
    assert (status, "as signed: 30 records" in out) == (0, True)

    status, out, _ = await audit(mine, "heads")
    kept = tmp_path / "heads.json"
    kept.write_text(out)
    assert (await audit(mine, "verify", "--heads", str(kept)))[0] == 0
    kept.write_text(out.replace('"sha256": "', '"sha256": "0'))
    status, out, _ = await audit(mine, "verify", "--heads", str(kept))
    assert (status, "unheld" in out) == (1, True)

    decision_id = decisions[11][0].decision_id
    status, out, _ = await audit(mine, "prove", decision_id)
    proof, key = tmp_path / "proof.json", tmp_path / "public.pem"
    proof.write_text(out)
    key.write_bytes(keys.pem(keys.open_signer(mine).public))
    status, out, _ = await audit(mine, "check", str(proof), "--key", str(key))
    assert (status, json.loads(out)["decision"]) == (0, decision_id)
    proof.write_text(proof.read_text().replace(decision_id, decisions[12][0].decision_id))
    status, out, told = await audit(mine, "check", str(proof), "--key", str(key))
    assert (status, out, "REFUSED" in told) == (1, "", True)


async def test_bad_input_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    """Without a traceback, and with what can be done."""
    mine = audited(settings, tmp_path)
    for arguments, words in {
        ("prove", "0000"): "there is no decision '0000' on the log",
        ("verify", "--since", "yesterday"): "is no time",
        ("verify", "--range", "decisions/0/7"): "is no range",
        ("verify", "--topic", "nothing"): "choose among",
        ("verify", "--heads", str(tmp_path / "nothing")): "is not what `retrace audit heads` prints",
        ("verify", "--key", str(mine.notary_key)): "is no public key in PEM",
        ("check", str(tmp_path / "nothing"), "--key", str(mine.notary_key)): "cannot be read",
    }.items():
        status, out, told = await audit(mine, *arguments)
        assert (status, out) == (1, ""), arguments
        assert words in told, told
        assert "Traceback" not in told


async def test_completeness_names_a_server_that_never_said_anything(settings: Settings, tmp_path: Path) -> None:
    """Records whose server has no account are not called complete."""
    mine = audited(settings, tmp_path)
    status, out, _ = await audit(mine, "completeness")
    assert (status, "no server has answered" in out) == (0, True)
    async with FactWriter(mine, (await open_decoder(mine)).codec) as writer:
        await writer.append_all([served(number) for number in (0, 1, 3)])
    status, out, _ = await audit(mine, "completeness", "-o", "json")
    (one,) = json.loads(out)["servers"]
    assert (status, one["state"], [x["sequence"] for x in one["missing"]]) == (1, "unreported", [3])
    status, out, _ = await audit(mine, "completeness")
    assert (status, "NOT complete" in out) == (1, True)
