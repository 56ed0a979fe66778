"""The circuit breaker: nobody waits for a server that is known to be down."""

from inference.serving.breaker import Breaker


def broken(breaker: Breaker, now: float = 0.0) -> Breaker:
    for _ in range(breaker.threshold):
        breaker = breaker.failed(now)
    return breaker


def test_some_failures_in_a_row_open_it() -> None:
    """One slow answer must not take a server out, a dead server must not cost every request its timeout."""
    breaker = Breaker(threshold=3)
    assert breaker.failed(0).failed(0).allows(0)
    assert not broken(breaker).allows(0)


def test_an_answer_in_between_starts_the_count_anew() -> None:
    """Only failures in a row tell a server that is down."""
    breaker = Breaker(threshold=3).failed(0).failed(0).succeeded().failed(0)
    assert breaker.allows(0)


def test_after_a_pause_one_caller_tries() -> None:
    """A server that comes back is found by one request, while the others keep falling back at once."""
    breaker = broken(Breaker(pause_s=0.5))
    assert breaker.state(0.4) == "open"
    assert breaker.state(0.5) == "probing"
    assert breaker.allows(0.5)
    trying = breaker.calling(0.5)
    assert not trying.allows(0.6)
    assert trying.succeeded().allows(0.6)


def test_a_failed_try_keeps_it_open() -> None:
    """Recovery is an answer, not the passing of time."""
    breaker = broken(Breaker(pause_s=0.5)).calling(0.5).failed(0.55)
    assert not breaker.allows(0.9)
    assert breaker.allows(1.05)
