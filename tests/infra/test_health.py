"""What a service says about itself."""

from infra.health import Health


def test_a_service_that_knows_nothing_is_not_ready() -> None:
    """Traffic must not come before the first connection."""
    assert not Health("films").ready


def test_one_failed_component_makes_it_unready_until_it_works() -> None:
    """Readiness is the and of all parts."""
    health = Health("films")
    health.ok("kafka")
    health.failed("postgres", "away")
    assert not health.ready
    health.ok("postgres")
    assert health.ready


def test_since_moves_only_when_the_state_changes() -> None:
    """`since` tells how long it has been broken, however often that was said."""
    health = Health("films")
    health.failed("postgres", "away")
    since = health.components["postgres"].since
    health.failed("postgres", "still away")
    assert health.components["postgres"].since == since
    assert health.components["postgres"].cause == "still away"
    health.ok("postgres")
    assert health.components["postgres"].since >= since
