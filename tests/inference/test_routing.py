"""What serving keeps of the world, and in which order it is read again."""

from contextlib import suppress
from typing import Any

import pytest

from inference.serving.lastgood import LastGood
from inference.serving.reads import Catalogue, Erased, LiveModels, Popularity
from inference.serving.routing import Routing
from schemas.decisions import AsOf
from schemas.errors import Unavailable

VIEWS = ("user_profile", "live_models", "catalogue", "popularity")


def at(view: str) -> tuple[AsOf, ...]:
    return (AsOf(view=view, topic="t", partition=0, next_offset=1),)


class Slow:
    """Read models of which one does not answer in time."""

    def __init__(self, away: str) -> None:
        self._away = away
        self.asked: list[str] = []

    def _ask(self, view: str) -> tuple[AsOf, ...]:
        self.asked.append(view)
        if view == self._away:
            raise Unavailable(f"{view} takes too long")
        return at(view)

    async def marks(self) -> dict[str, tuple[AsOf, ...]]:
        return {view: at(view) for view in VIEWS}

    async def erased(self) -> Erased:
        return Erased(frozenset({"gone"}), self._ask("user_profile"))

    async def refusing(self, users: Any) -> set[str]:
        return set()

    async def live(self) -> LiveModels:
        return LiveModels({}, self._ask("live_models"))

    async def catalogue(self) -> Catalogue:
        return Catalogue({}, {}, self._ask("catalogue"))

    async def popularity(self) -> Popularity:
        return Popularity({}, self._ask("popularity"))


async def test_a_catalogue_that_takes_too_long_holds_up_nothing_else() -> None:
    """Who withdrew consent is forgotten and the promoted version is asked, however large the catalogue is."""
    reads: Any = Slow("catalogue")
    routing = Routing(reads, prepare=_never, poll_s=1, last_good=LastGood(9))
    with pytest.raises(Unavailable):
        await routing.refresh()
    assert reads.asked == ["user_profile", "live_models", "catalogue", "popularity"]
    assert routing.world.erased == {"gone"}
    assert routing.world.routed == at("live_models")


async def test_what_was_read_in_vain_rests_but_consents_are_read_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same heavy query again and again keeps the database busy; an old consent may not wait."""
    monkeypatch.setattr("inference.serving.routing.SPARE", 1e9)
    for view, times in (("popularity", 1), ("user_profile", 2)):
        reads: Any = Slow(view)
        routing = Routing(reads, prepare=_never, poll_s=1, last_good=LastGood(9))
        for _ in range(2):
            with suppress(Unavailable):
                await routing.refresh()
        assert reads.asked.count(view) == times


async def _never(live: Any) -> Any:
    raise AssertionError(live)
