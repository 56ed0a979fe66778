"""Parts of a resumable upload: what is hashed, from where an attempt goes on, and what a failed start leaves behind."""

from types import SimpleNamespace
from typing import Any

import pytest

from commands.api.bulk import ledger as ledger_module
from commands.api.bulk.cut import Start
from commands.api.bulk.digest import Digest
from commands.api.bulk.ledger import Ledger
from commands.api.bulk.naming import Named
from commands.api.bulk.progress import Progress
from commands.api.bulk.upload import Bulk
from infra.health import Health
from infra.settings import Settings
from schemas.errors import Rejected, Unavailable
from schemas.uploads import UploadBegan

NOBODY: Any = None
INTENT: Any = SimpleNamespace(tenant="default")


class Racing:
    """A ledger on which the attempt before confirms a thousand bytes more, just before the next one begins."""

    def __init__(self, *, complete: bool = False) -> None:
        self._complete = complete
        self._began = Progress(attempt="before", media_type="text/csv", start=Start(1000, 10, b""))

    async def of(self, tenant: str, upload_id: str) -> Progress:
        return self._began

    async def append(self, intent: Any, facts: list[UploadBegan]) -> None:
        attempt = "before" if self._complete else facts[0].attempt
        start = Start(2000, 20, b"")
        self._began = Progress(attempt, "text/csv", start, (1000, 2000), b"", 20, complete=self._complete)


def bulk(ledger: Any) -> Bulk:
    return Bulk(Settings(), NOBODY, NOBODY, NOBODY, NOBODY, ledger, NOBODY)


@pytest.mark.parametrize("complete", [False, True])
async def test_an_attempt_goes_on_where_the_one_before_really_came_to(complete: bool) -> None:
    """A body that begins at byte 1000, read as if it began at 2000, counts lines twice and leaves others out."""
    with pytest.raises(Rejected) as refused:
        await bulk(Racing(complete=complete))._begun(INTENT, "text/csv", Named("u", 1000, ends=True))
    assert (refused.value.code, refused.value.extra["expected_offset"]) == ("upload_offset_mismatch", 2000)


async def test_the_whole_file_again_goes_on_from_there() -> None:
    """Whoever sends everything needs to know of no place."""
    progress = await bulk(Racing())._begun(INTENT, "text/csv", Named("u", None, ends=True))
    assert progress.start.size_bytes == 2000


def test_a_pause_within_a_line_leaves_the_place_as_it_was() -> None:
    """Chunks of a network end anywhere; what came before the piece of a line can be confirmed all the same."""
    digest, again = Digest(), Digest()
    for one in (digest, again):
        one.feed(b"abc\nde", 4)
    digest.feed(b"", 4)
    assert digest.can_go_on
    for one in (digest, again):
        one.feed(b"f\n", 7)
    assert digest.mark() == again.mark()


async def test_a_start_that_fails_leaves_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried every second, for as long as the archive is away."""

    async def away(*_: object) -> None:
        raise Unavailable("the archive is away")

    ledger = Ledger(Settings(), Health("commands"), NOBODY, NOBODY, NOBODY, 1)
    monkeypatch.setattr(ledger_module, "recall", away)

    async def start() -> None:
        """Of the consumer: no broker is needed."""

    monkeypatch.setattr(ledger._consumer, "start", start)
    with pytest.raises(Unavailable):
        await ledger.__aenter__()
    assert ledger._consumer._closed
