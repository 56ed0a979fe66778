"""Recording what was served: not waited for, and never lost unnoticed."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from uuid6 import uuid7

from inference.serving.recorder import Recorder, record
from infra.health import Health
from infra.settings import Settings
from infra.stack.stack import Stack
from schemas.decisions import RecommendationServed
from schemas.envelope import Meta
from schemas.errors import TooLarge, Unavailable

from .logreader import read_topic


def served(recorder: Recorder, user_id: str = "ana") -> tuple[RecommendationServed, Meta]:
    ticket = recorder.ticket()
    decision = RecommendationServed(
        user_id=user_id,
        decision_id=str(uuid7()),
        model="films",
        source="popular",
        fallback_reason="new_user",
        positions=(),
        history_length=0,
        history_sha256="",
        candidates=0,
        limit=10,
        items=(),
        served_at=datetime.now(UTC),
        latency_ms=1.0,
        server=ticket.server,
        sequence=ticket.sequence,
    )
    return decision, Meta(id=uuid7(), type=decision.AVRO, source="test", subject=user_id, time=decision.served_at)


async def sequences(settings: Settings) -> list[int]:
    """The sequence numbers on record, in order, repeats left out as every reader does."""
    found = {recorded.meta.id: recorded.event.sequence for recorded in await read_topic(settings, "decisions")}
    return sorted(found.values())


async def test_what_is_taken_is_on_record_when_the_service_stops(settings: Settings) -> None:
    """A shutdown may not lose the last answers."""
    recorder, health = Recorder(1000, "shed"), Health("test")
    for _ in range(200):
        assert recorder.put(*served(recorder))
    recorder.close()
    await asyncio.wait_for(record(settings, recorder, health), 60)
    assert await sequences(settings) == list(range(1, 201))
    assert recorder.waiting == 0


@pytest.mark.alone
async def test_kafka_away_delays_records_and_loses_none(settings: Settings, stack: Stack) -> None:
    """Answers go on without the log; it catches up when it is back."""
    recorder, health = Recorder(1000, "shed"), Health("test")
    patient = settings.model_copy(update={"recommend": settings.recommend.model_copy(update={"kafka_patience_s": 0.5})})
    task = asyncio.create_task(record(patient, recorder, health))
    recorder.put(*served(recorder))
    await _until(lambda: recorder.waiting == 0)
    stack.pause("kafka")
    try:
        for _ in range(50):
            recorder.put(*served(recorder))
        await _until(lambda: not health.ready)
        assert "answers wait to be recorded" in health.components["recording"].cause
    finally:
        stack.resume("kafka")
    await _until(lambda: recorder.waiting == 0 and health.ready)
    recorder.close()
    await asyncio.wait_for(task, 60)
    assert await sequences(settings) == list(range(1, 52))


async def test_a_full_queue_sheds_and_the_gap_shows() -> None:
    """Memory is bounded; that something is missing must be visible to whoever reads the log."""
    recorder = Recorder(2, "shed")
    recorder.admit()
    assert [recorder.put(*served(recorder)) for _ in range(3)] == [True, True, False]
    assert served(recorder)[0].sequence == 4


async def test_a_full_queue_can_refuse_instead() -> None:
    """Where every answer must be on record, no record means no answer."""
    recorder = Recorder(1, "refuse")
    recorder.admit()
    recorder.put(*served(recorder))
    with pytest.raises(Unavailable) as refused:
        recorder.admit()
    assert refused.value.code == "recorder_full"


async def test_a_record_that_kafka_will_never_take_holds_up_no_other() -> None:
    """It is counted as refused, so that the log says what is missing."""
    recorder = Recorder(9, "shed")
    for _ in range(3):
        recorder.put(*served(recorder))
    recorder.close()
    taken: list[int] = []

    class Writer:
        async def append(self, decision: RecommendationServed, _: Meta) -> None:
            if decision.sequence == 2:
                raise TooLarge("larger than Kafka takes")
            taken.append(decision.sequence)

    await recorder.run(Writer())  # type: ignore[arg-type]
    assert taken == [1, 3]
    assert [(loss.sequence, loss.cause) for loss in recorder.tickets.lost] == [(2, "refused")]


async def _until(done: Callable[[], bool], timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while not done():
            await asyncio.sleep(0.05)
