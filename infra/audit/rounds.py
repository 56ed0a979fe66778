"""The notary's own verification of the log, now and then, with the result on record."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Gauge
from uuid6 import uuid7

from infra.audit.comparison import PartitionReport
from infra.audit.keys import public_keys
from infra.audit.ledger import Ledger
from infra.audit.verify import Report, Wanted, verify
from infra.health import Health
from infra.kafka.facts import FactWriter
from infra.kafka.records import Decoder
from infra.settings import Settings
from schemas.audit import LogVerified
from schemas.envelope import Meta
from schemas.errors import NotFound, Problem

ACTOR = "notary"
LOOK_S = 60.0
MOST = 100
NEVER = datetime(1970, 1, 1, tzinfo=UTC)

VERIFIED = Gauge("retrace_notary_verified_timestamp_seconds", "When the log was last verified, seconds since 1970.")
FINDINGS = Gauge("retrace_notary_findings", "What the last verification found that is not as it was signed.")

log = structlog.get_logger()


async def verify_now_and_then(
    settings: Settings, decoder: Decoder, ledger: Ledger, writer: FactWriter, health: Health
) -> None:
    """Verify the whole log as often as the settings say, counted over all notaries and their restarts.

    What was found before a restart is told until another verification finds nothing. What cannot be read now is tried
    again later; only findings turn health red, and they do not keep the notary from signing what comes.
    """
    found = [finding for one in ledger.verified.values() for finding in one.findings]
    FINDINGS.set(len(found))
    if found:
        _tell_findings(found, health)
    every = timedelta(seconds=settings.notary.verify_s)
    last = NEVER
    while every:
        last = max([last, *(one.verified_at for one in ledger.verified.values())])
        if datetime.now(UTC) - last >= every:
            try:
                last = await _verify(settings, decoder, writer, health)
            except NotFound:
                health.ok("verification", "there is nothing to verify yet")
            except Problem as problem:
                log.warning("the log could not be verified", cause=problem.detail)
                health.failed("verification", problem.detail, vital=False)
        await asyncio.sleep(min(LOOK_S, settings.notary.verify_s))


async def _verify(settings: Settings, decoder: Decoder, writer: FactWriter, health: Health) -> datetime:
    """Verify, say so on the log, and answer when that was."""
    report = await verify(settings, decoder, public_keys(settings), Wanted())
    now = datetime.now(UTC)
    await writer.append_all(
        [fact for part in report.partitions if part.checkpoints or part.findings for fact in [_fact(part, now)]]
    )
    VERIFIED.set(now.timestamp())
    FINDINGS.set(len(report.faults))
    _tell(report, now, health)
    return now


def _fact(part: PartitionReport, now: datetime) -> tuple[LogVerified, Meta]:
    event = LogVerified(
        log=part.log,
        checkpoints=part.checkpoints,
        records=part.records,
        end=part.end,
        findings=tuple(str(finding) for finding in part.findings[:MOST]),
        verified_at=now,
    )
    meta = Meta(id=uuid7(), type=event.AVRO, source=f"retrace/{ACTOR}", subject=part.log, time=now, actor=ACTOR)
    return event, meta


def _tell(report: Report, now: datetime, health: Health) -> None:
    if not report.faults:
        health.ok("verification", f"{report.records:,} records were as signed at {now:%Y-%m-%d %H:%M} UTC")
        return
    for finding in report.faults[:MOST]:
        log.error("the log is not as it was signed", finding=str(finding))
    _tell_findings(report.faults, health)


def _tell_findings(findings: Sequence[object], health: Health) -> None:
    cause = f"{len(findings)} findings, the first: {findings[0]}; `retrace audit verify` tells all"
    health.failed("verification", cause, vital=False)
