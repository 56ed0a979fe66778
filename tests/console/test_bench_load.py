"""The load generator must charge a service for everybody it kept waiting."""

import asyncio
import time

from console.bench.load import closed_loop, open_loop


async def test_a_stall_is_charged_to_every_request_that_was_due_meanwhile() -> None:
    """The error called coordinated omission: without it, one request in fifty would look slow here."""
    free_at = 0.0

    async def stalled(_number: int) -> None:
        nonlocal free_at
        free_at = free_at or time.perf_counter() + 0.3
        await asyncio.sleep(max(0.0, free_at - time.perf_counter()))

    load = await open_loop(stalled, rate=100, duration_s=0.5)
    assert len(load.latencies_ms) == 50
    assert sum(latency > 50 for latency in load.latencies_ms) >= 20
    assert load.percentile_ms(0.99) > 200


async def test_a_generator_that_comes_late_counts_it_as_latency() -> None:
    """A blocked event loop must not make the service look fast."""

    async def blocking(number: int) -> None:
        if number == 0:
            time.sleep(0.2)  # noqa: ASYNC251 - the point of the test

    load = await open_loop(blocking, rate=100, duration_s=0.2)
    assert load.late_ms > 100
    assert load.percentile_ms(0.5) > 50


async def test_an_open_loop_keeps_its_rate_without_answers() -> None:
    """Requests are sent when they are due, however slow the answers are."""
    sent: list[float] = []

    async def slow(_number: int) -> None:
        sent.append(time.perf_counter())
        await asyncio.sleep(0.5)

    await open_loop(slow, rate=50, duration_s=0.4)
    assert len(sent) == 20
    assert sent[-1] - sent[0] < 5, "one after another they would take 10 s"


async def test_a_closed_loop_has_so_many_under_way_and_no_more() -> None:
    """The throughput of 4 clients is not that of 5."""
    under_way, most = 0, 0

    async def send(_number: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1

    load = await closed_loop(send, clients=4, duration_s=0.2)
    assert most == 4
    assert 0 < load.rate <= 400


async def test_refused_requests_are_counted_and_not_timed() -> None:
    """A quick refusal must not improve the latencies."""

    async def every_other(number: int) -> None:
        if number % 2:
            raise RuntimeError("no")

    load = await open_loop(every_other, rate=200, duration_s=0.1)
    assert len(load.latencies_ms) == 10
    assert load.faults == {"RuntimeError: no": 10}
    assert load.summary()["faults"] == 10


async def test_nothing_answered_is_infinitely_slow() -> None:
    """A service that is down misses every goal."""

    async def refuse(_number: int) -> None:
        raise RuntimeError("no")

    load = await open_loop(refuse, rate=100, duration_s=0.05)
    assert load.percentile_ms(0.5) == float("inf")
