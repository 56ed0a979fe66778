"""Whether anybody changed the log since it was signed, for the part that a report speaks for."""

from typing import Any

from inference.report.scope import Scope
from inference.report.wording import count, listed, places
from infra.audit.keys import public_keys
from infra.audit.partition import followed
from infra.audit.verify import Report, Wanted, verify
from infra.kafka.records import Decoder
from infra.settings import Settings
from schemas.errors import NotFound
from schemas.models import OffsetRange

Json = dict[str, Any]


async def tamper(settings: Settings, decoder: Decoder, scope: Scope) -> Json:
    """The signed checkpoints of the period's records computed again, as a check of the report.

    Raises:
        Invalid: a range is no longer in the log.
        Incompatible: the checkpoints themselves are damaged.
        Unavailable: brokers or registry do not answer.
    """
    ranges = [part for part in scope.ranges if part.end > part.first and part.topic in followed()]
    try:
        found = await verify(settings, decoder, public_keys(settings), Wanted(ranges=ranges))
    except NotFound:
        text = "Nothing of this period has been signed, so it cannot be shown that nobody changed it"
        return _check(False, text, places(ranges))
    return _told(found, ranges)


def _told(found: Report, ranges: list[OffsetRange]) -> Json:
    if found.faults:
        named = listed([str(fault) for fault in found.faults])
        return _check(False, f"The log is not what was signed: {named}", places(ranges))
    text = f"Every record that was signed is as it was signed ({count(found.records, 'record')}"
    late = f", {found.uncovered:,} of the newest not signed yet)" if found.uncovered else ")"
    return _check(True, text + late, places(ranges))


def _check(passed: bool, text: str, evidence: list[str]) -> Json:
    return {"name": "log_unchanged", "passed": passed, "text": text, "evidence": evidence}
