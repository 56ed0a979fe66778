"""What other checks say of the same period: whether the log was changed, and whether answers are missing from it.

They speak for the moment in which they are made: more is signed and reported by the minute. So they stand beside the
facts of a report, and are not among what is the same each time.
"""

from collections import Counter
from typing import Any

from inference.report.scope import Scope
from inference.report.wording import count, listed, places
from inference.serving.completeness import Completeness, completeness
from infra.audit.keys import public_keys
from infra.audit.partition import followed
from infra.audit.verify import Report, Wanted, verify
from infra.kafka.records import Decoder
from infra.settings import Settings
from schemas.errors import NotFound
from schemas.models import OffsetRange

Json = dict[str, Any]


async def verdicts(settings: Settings, decoder: Decoder, scope: Scope) -> list[Json]:
    """The verdicts of `retrace audit verify` and `retrace audit completeness` on the period.

    Raises:
        Invalid: a range is no longer in the log.
        Incompatible: the checkpoints, or a record, cannot be read.
        Unavailable: brokers or registry do not answer.
    """
    accounted = await completeness(settings, decoder, scope.since, scope.until)
    return [await _unchanged(settings, decoder, scope), _accounted(accounted, scope)]


async def _unchanged(settings: Settings, decoder: Decoder, scope: Scope) -> Json:
    """The signed checkpoints of the period's records, computed again."""
    ranges = [part for part in scope.ranges if part.end > part.first and part.topic in followed()]
    try:
        found = await verify(settings, decoder, public_keys(settings), Wanted(ranges=ranges))
    except NotFound:
        text = "Nothing of this period has been signed, so it cannot be shown that nobody changed it"
        return _check("log_unchanged", False, text, places(ranges))
    return _told(found, ranges)


def _told(found: Report, ranges: list[OffsetRange]) -> Json:
    if found.faults:
        named = listed([str(fault) for fault in found.faults])
        gone = all(fault.kind == "unchecked" for fault in found.faults)
        text = "Not all that was signed can be checked" if gone else "The log is not what was signed"
        return _check("log_unchanged", False, f"{text}: {named}", places(ranges))
    text = f"Every record that was signed is as it was signed ({count(found.records, 'record')}"
    late = f", {found.uncovered:,} of the newest not signed yet)" if found.uncovered else ")"
    return _check("log_unchanged", True, text + late, places(ranges))


def _accounted(found: Completeness, scope: Scope) -> Json:
    """Each start of a server held against what it says it answered."""
    servers, evidence = found.servers, places(scope.during("decisions"))
    states = listed([f"{number} {state}" for state, number in sorted(Counter(s.state for s in servers).items())])
    starts = count(len(servers), "server start") + (f" ({states})" if states else "")
    if found.whole:
        return _check("answers_accounted_for", True, f"Every answer of {starts} is accounted for", evidence)
    why = Counter(missing.why for server in servers for missing in server.missing if missing.given)
    told = [f"{number} {reason}" for reason, number in sorted(why.items())]
    lost = f"{count(why.total(), 'answer')} not on record" + (f" ({listed(told)})" if told else "")
    return _check("answers_accounted_for", False, f"Of {starts}: {lost}", evidence)


def _check(name: str, passed: bool, text: str, evidence: list[str]) -> Json:
    return {"name": name, "passed": passed, "text": text, "evidence": evidence}
