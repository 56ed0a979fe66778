"""Every answer that was given is on record, or is named as missing: also those of a server that was killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.serving.completeness import Account, Completeness, ServerReport, completeness, report
from inference.serving.recorder import Recorder, record
from inference.serving.tickets import Tickets, left_behind
from infra.access.client import headers_of
from infra.health import Health
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment
from infra.stack.stack import merged
from schemas.errors import Unavailable
from schemas.serving import AnswersReported, LostAnswer, ServerStarted

from ..eventually import eventually
from .logreader import read_topic
from .test_recorder import served
from .town import free_port

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def with_tickets(settings: Settings, folder: Path, **more: object) -> Settings:
    """The same with counts of its own and a report soon."""
    changed = {"recommend": {"tickets": folder / "tickets", "report_s": 0.2}, **more}
    return Settings(**merged(settings.model_dump(exclude_unset=True), changed))


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    """The role `serving` as a process; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "serve", "serving"),
        env=child_environment(settings) | {"PYTHONPATH": str(ROOT)},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(120), aiohttp.ClientSession() as http:
            while not await _answers(http, settings):
                assert process.returncode is None
                await asyncio.sleep(0.1)
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _answers(http: aiohttp.ClientSession, settings: Settings) -> bool:
    try:
        async with http.get(f"{settings.serving.url}/health/live") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def ask(http: aiohttp.ClientSession, settings: Settings, received: set[str]) -> None:
    """One client that asks until its server is gone."""
    url = f"{settings.serving.url}/users/ana/recommendations"
    while True:
        try:
            async with http.get(url, headers=headers_of(settings)) as response:
                answer = await response.json()
                assert response.status == 200, answer
                received.add(answer["decision_id"])
        except (aiohttp.ClientError, ConnectionError):
            return


async def killed_under_load(settings: Settings, *, answers: int, clients: int = 8) -> set[str]:
    """Start a server, ask it from several clients at once, kill it amid that; what the clients had received."""
    received: set[str] = set()
    async with serving(settings) as process, aiohttp.ClientSession() as http:
        asking = [asyncio.create_task(ask(http, settings, received)) for _ in range(clients)]
        while len(received) < answers:
            await asyncio.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.gather(*asking)
    return received


async def found(settings: Settings) -> Completeness:
    return await completeness(settings, await open_decoder(settings))


async def told(settings: Settings, deaths: int) -> Completeness:
    """Wait until the next server has reported those that died."""

    async def look() -> Completeness | None:
        answer = await found(settings)
        return answer if sum(one.state == "died" for one in answer.servers) == deaths else None

    return await eventually(look, 120, 0.2)


async def on_record(settings: Settings) -> set[str]:
    return {recorded.event.decision_id for recorded in await read_topic(settings, "decisions")}


async def test_kill_9_of_a_server_under_load_is_accounted_for_exactly(settings: Settings, tmp_path: Path) -> None:
    """Real processes: whatever a client received is on record, or named as missing; nothing else is."""
    mine = with_tickets(settings, tmp_path, serving={"port": free_port()})
    received: set[str] = set()
    clients = 8
    for _ in range(3):
        received |= await killed_under_load(mine, answers=300, clients=clients)
    async with serving(mine):
        answer = await told(mine, 3)
    recorded = await on_record(mine)
    dead = [one for one in answer.servers if one.state == "died"]
    missing = {lost.decision_id for one in dead for lost in one.missing if lost.given}
    assert received <= recorded | missing
    assert not recorded & missing
    assert {lost.why for one in dead for lost in one.missing} <= {"died", "unanswered"}
    assert sum(one.answers for one in dead) == sum(one.recorded + len(one.missing) for one in dead)
    assert sum(one.recorded for one in dead) == len(recorded)
    unheard = len((recorded | missing) - received)
    assert unheard <= 3 * clients, "at most the one answer of each client that was cut off"


async def test_answers_of_a_server_that_never_reached_kafka_are_named_one_by_one(
    settings: Settings, tmp_path: Path
) -> None:
    """Kafka away and then a kill: the worst case. Not one of them is on record, and every one is named."""
    port = free_port()
    cut_off = with_tickets(settings, tmp_path, serving={"port": port}, kafka={"bootstrap": f"127.0.0.1:{free_port()}"})
    received = await killed_under_load(cut_off, answers=200)
    mine = with_tickets(settings, tmp_path, serving={"port": port})
    async with serving(mine):
        answer = await told(mine, 1)
    (dead,) = [one for one in answer.servers if one.state == "died"]
    missing = {lost.decision_id for lost in dead.missing if lost.given}
    assert received <= missing
    assert len(missing - received) <= 8
    assert (dead.recorded, dead.answers, answer.whole) == (0, len(dead.missing), False)


async def test_a_clean_stop_leaves_nothing_to_explain(settings: Settings, tmp_path: Path) -> None:
    """The last word is said when everything is recorded, and the file goes away."""
    mine = with_tickets(settings, tmp_path)
    recorder = Recorder(1000, "shed", mine.ticket_folder)
    for _ in range(100):
        assert recorder.put(*served(recorder))
    recorder.close()
    await asyncio.wait_for(record(mine, recorder, Health("test")), 60)
    answer = await found(mine)
    (one,) = answer.servers
    assert (one.state, one.answers, one.recorded, one.missing) == ("stopped", 100, 100, ())
    assert answer.whole
    assert list(mine.ticket_folder.iterdir()) == []


async def test_what_was_shed_is_named(settings: Settings, tmp_path: Path) -> None:
    """A full queue costs records, never the knowledge of them; the rest of the log is still whole."""
    mine = with_tickets(settings, tmp_path)
    recorder = Recorder(10, "shed", mine.ticket_folder)
    decisions = [served(recorder) for _ in range(15)]
    kept = [recorder.put(*decision) for decision in decisions]
    recorder.close()
    await asyncio.wait_for(record(mine, recorder, Health("test")), 60)
    (one,) = (await found(mine)).servers
    shed = [decision.decision_id for (decision, _), taken in zip(decisions, kept, strict=True) if not taken]
    assert [lost.decision_id for lost in one.missing] == shed
    assert {lost.why for lost in one.missing} == {"shed"}
    assert (one.recorded, one.whole) == (10, False)


def test_a_file_says_what_waits_and_what_was_shed(tmp_path: Path) -> None:
    """Read by another process after any end of the first one."""
    tickets = Tickets("here/1", 3, tmp_path / "a.tickets")
    assert list(left_behind(tmp_path)) == [], "its server lives"
    slots = [tickets.hold(tickets.next(), f"decision {number}") for number in (1, 2, 3)]
    tickets.release(slots[1])
    tickets.lose(tickets.next(), "decision 4", "shed")
    assert tickets.settled == 0
    tickets.next()
    tickets.close(done=False)
    (left,) = left_behind(tmp_path)
    assert (left.server, left.handed) == ("here/1", 5)
    assert [(x.sequence, x.decision_id, x.cause) for x in left.lost] == [
        (1, "decision 1", "died"),
        (3, "decision 3", "died"),
        (4, "decision 4", "shed"),
    ]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A server that cannot count does not start to answer."""
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="RETRACE_RECOMMEND__TICKETS"):
        Tickets("here/1", 3, tmp_path / "file" / "a.tickets")


@given(
    st.integers(0, 60),
    st.sets(st.integers(1, 60)),
    st.sets(st.integers(1, 60)),
    st.sampled_from(["running", "stopped", "died"]),
)
def test_every_number_is_accounted_for_once(handed: int, on_log: set[int], known: set[int], end: str) -> None:
    """Recorded and missing add up to what was handed out, whatever is lost and whatever is known of it."""
    account = Account("here/1")
    account.hear(ServerStarted(server="here/1", started_at=NOW))
    lost = tuple(LostAnswer(sequence=n, decision_id=f"d{n}", cause="died") for n in sorted(known))
    for _ in range(2):  # said twice, after a crash
        account.hear(said(handed, lost, end))
    found = reported(account, {n: f"d{n}" for n in on_log})
    missing = [one.sequence for one in found.missing]
    assert missing == [n for n in range(1, handed + 1) if n not in on_log]
    assert found.recorded + len(missing) == found.answers == handed
    assert all(one.decision_id == f"d{one.sequence}" for one in found.missing if one.sequence in known)
    unknown = [one for one in found.missing if one.sequence not in known]
    assert all(
        one.why == ("unanswered" if end == "died" and one.sequence == handed else "unexplained") for one in unknown
    )


def said(handed: int, lost: tuple[LostAnswer, ...], end: str) -> AnswersReported:
    return AnswersReported(
        server="here/1",
        sequence=handed,
        lost=lost,
        reported_at=NOW,
        end=end,  # type: ignore[arg-type]
        by="here/1",
    )


def reported(account: Account, on_log: dict[int, str]) -> ServerReport:
    rows = pl.DataFrame(
        {"sequence": list(on_log), "decision_id": list(on_log.values())},
        schema={"sequence": pl.Int64, "decision_id": pl.String},
    )
    return report(account, rows if on_log else None, NOW + timedelta(seconds=5))


def test_a_record_that_somebody_removed_is_unexplained() -> None:
    """The server confirmed it, so no end of a server explains that it is gone."""
    account = Account("here/1", started_at=NOW, reported_at=NOW, settled=3, end="stopped")
    found = reported(account, {1: "a", 3: "c"})
    assert [(one.sequence, one.why) for one in found.missing] == [(2, "unexplained")]
    assert not found.whole


def test_a_number_of_two_decisions_is_told_and_a_repeat_is_not() -> None:
    """A retry leaves the same record twice; two decisions under one number were never given by one server."""
    account = Account("here/1", started_at=NOW, reported_at=NOW, settled=2, end="stopped")
    rows = pl.DataFrame({"sequence": [1, 1, 2, 2], "decision_id": ["a", "a", "b", "c"]})
    found = report(account, rows, NOW)
    assert (found.repeated, found.twice, found.whole) == (1, (2,), False)


def test_a_server_that_fell_silent_is_not_called_complete() -> None:
    """Its last answers are in a file that nobody has read yet."""
    account = Account("here/1", started_at=NOW, reported_at=NOW, settled=1)
    assert reported(account, {1: "a"}).whole
    rows = pl.DataFrame({"sequence": [1], "decision_id": ["a"]})
    late = report(account, rows, NOW + timedelta(hours=1))
    assert (late.state, late.whole) == ("silent", False)
    stranger = report(Account("here/2"), rows, NOW)
    assert (stranger.state, stranger.whole) == ("unreported", False)
