"""An explanation must say identical when it is, and never when it is not or could not be looked at."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import fsspec
import pytest

from inference.explaining.explain import Explanation, differences, explain
from inference.explaining.remake import Remade
from inference.inputs import history_sha256
from infra.kafka.facts import FactWriter
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.decisions import RecommendationServed, ScoredItem
from schemas.errors import NotFound
from schemas.profiles import ChangePreferences, RegisterUser, WithdrawConsent

from ..cutting import cut
from ..eventually import eventually
from .town import DATA, Town, meta, open_town

pytestmark = pytest.mark.long

USER, HISTORY = next((user, items) for user, items in DATA.histories().items() if 5 < len(set(items)) < 25)


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    """A model serves, users have a history."""
    async with open_town(settings) as town:
        await town.stock()
        await town.start("deployer", "serving")
        await town.deployed(1, town.artifact())
        await town.stocked()
        await town.answers(USER, lambda a: a["source"] == "model" and a["history_length"] == len(set(HISTORY)))
        yield town


async def explained(town: Town, decision_id: str) -> Explanation:
    """The explanation, once the record has been appended."""
    decoder = await open_decoder(town.settings)

    async def look() -> Explanation | None:
        try:
            return await explain(town.settings, decoder, decision_id)
        except NotFound:
            return None

    return await eventually(look, 60, 0.1)


async def test_answers_of_every_source_are_made_again(town: Town) -> None:
    """By the model, popular, after hiding a category and after withdrawing consent, with later events in the log."""
    decisions = [await town.recommend(USER), await town.recommend("nobody"), await town.recommend(USER, limit=40)]
    await town.send(RegisterUser(user_id=USER))
    await town.send(ChangePreferences(user_id=USER, hidden_categories=("even",)))
    odd = lambda a: all(int(i["item_id"][1:]) % 2 for i in a["items"])  # noqa: E731
    decisions.append(await town.answers(USER, odd))
    await town.send(WithdrawConsent(user_id=USER, purpose="personalisation"))
    decisions.append(await town.answers(USER, lambda a: a["fallback_reason"] == "no_consent"))
    await town.interact(USER, *DATA.items[:5])
    await town.interact("nobody", *DATA.items[:3])

    found = [await explained(town, decision["decision_id"]) for decision in decisions]
    for one in found:
        assert one.identical, (one.decision, one.differences)
    assert {one.decision.source for one in found} == {"model", "popular"}
    assert found[3].decision.filtered
    why = found[0].remade.reasons  # type: ignore[union-attr]
    assert set(why) == {item.item_id for item in found[0].decision.items}
    assert all(reason.item_id in HISTORY for reasons in why.values() for reason in reasons)
    assert any(reasons for reasons in why.values())


async def test_a_last_good_answer_is_made_again(town: Town) -> None:
    """An answer made while Triton is away repeats an earlier one; the explanation follows it there."""
    first = await town.recommend(USER, limit=10)
    again = await explained(town, first["decision_id"])
    assert again.identical
    repeated = replace(
        again.decision,
        decision_id="repeated",
        source="last_good",
        fallback_reason="triton_unavailable",
        based_on=first["decision_id"],
        history_length=len(again.remade.history),  # type: ignore[union-attr]
        history_sha256=bare(again),
    )
    await append(town, repeated)
    assert (await explained(town, "repeated")).identical
    await append(town, replace(repeated, decision_id="astray", based_on="nothing"))
    astray = await explained(town, "astray")
    assert astray.remade is None
    assert not astray.identical


def bare(explanation: Explanation) -> str:
    assert explanation.remade is not None
    return history_sha256(explanation.remade.history)


async def append(town: Town, decision: RecommendationServed) -> None:
    codec = (await open_decoder(town.settings)).codec
    async with FactWriter(town.settings, codec) as writer:
        await writer.append(decision, meta(decision, decision.user_id))


async def test_what_was_changed_shows(town: Town) -> None:
    """A record that says something else than what the log gives, an artifact that is changed or gone."""
    true = (await explained(town, (await town.recommend(USER))["decision_id"])).decision
    items = list(true.items)
    lies: dict[str, dict[str, Any]] = {
        "score": {"items": (replace(items[0], score=items[0].score + 1e-3), *items[1:])},
        "order": {"items": (items[1], items[0], *items[2:])},
        "fewer": {"items": tuple(items[:-1])},
        "history": {"history_sha256": "0" * 64},
        "earlier": {"positions": tuple(replace(p, next_offset=0) for p in true.positions)},
        "filtered": {"filtered": (items[0].item_id,)},
        "later": {"positions": tuple(replace(p, next_offset=10**6) for p in true.positions)},
    }
    for name, lie in lies.items():
        await append(town, replace(true, decision_id=name, **lie))
        told = await explained(town, name)
        assert not told.identical, name
        assert told.differences, name
    assert "past the end" in (await explained(town, "later")).differences[0]

    fs, root = fsspec.core.url_to_fs(town.settings.artifact_url)
    path = f"{root}/{true.artifact_sha256[:2]}/{true.artifact_sha256}.onnx"  # type: ignore[index]
    artifact = bytearray(fs.cat_file(path))
    artifact[len(artifact) // 2] ^= 1
    fs.pipe_file(path, bytes(artifact))
    assert "damaged or replaced" in (await explained(town, true.decision_id)).differences[0]
    fs.rm(path)
    gone = await explained(town, true.decision_id)
    assert "not in the store" in gone.differences[0]
    assert not gone.identical


async def test_a_log_that_was_cut_verifies_nothing(town: Town) -> None:
    """What is gone cannot be read again: said with where the log begins now, and never identical."""
    decision_id = (await town.recommend(USER))["decision_id"]
    assert (await explained(town, decision_id)).identical
    await cut(town.settings, "interactions", lambda _: 1)
    told = await explained(town, decision_id)
    assert told.remade is None
    assert not told.identical
    assert "begins before the start of the log" in told.differences[0]


async def test_an_unknown_decision(settings: Settings) -> None:
    """No such decision: said in one sentence, with a way to find the right one."""
    with pytest.raises(NotFound, match="decisions/search"):
        await explain(settings, await open_decoder(settings), "nothing")


def test_scores_are_compared_to_the_last_bit() -> None:
    """The smallest difference that a float32 can hold is one."""
    served = RecommendationServed(
        user_id="u",
        decision_id="d",
        model="m",
        source="model",
        positions=(),
        history_length=0,
        history_sha256="",
        candidates=1,
        limit=1,
        items=(ScoredItem(item_id="a", score=1.0),),
        served_at=datetime.now(UTC),
        latency_ms=1.0,
        server="s",
        sequence=1,
    )
    same = Remade((("a", 1.0),), (), 1, (), 0, "")
    assert list(differences(served, same)) == []
    assert list(differences(served, replace(same, items=(("a", 1.0000001192092896),))))
    assert list(differences(served, replace(same, items=())))
