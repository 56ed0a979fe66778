"""Suppositions are about the recorded inputs, are marked as such, and refuse what they cannot suppose."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from inference.explaining.explain import Explainer, Explanation
from inference.explaining.statement import statement
from inference.explaining.verification import Checked, Tally, verified
from inference.explaining.whatif import Change, WhatIf, changes
from inference.models import item_to_item
from inference.scorer import OnnxScorer
from inference.serving import candidates
from inference.store import ArtifactStore
from infra.kafka.facts import FactWriter
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Invalid, NotFound, Problem

from ..eventually import eventually
from .town import DATA, Town, meta, open_town

USER, HISTORY = next((user, items) for user, items in DATA.histories().items() if 5 < len(set(items)) < 25)


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    """Version 1 of a model serves, version 2 is of another kind and only registered."""
    async with open_town(settings) as town:
        await town.stock()
        await town.start("deployer", "serving")
        first = town.artifact()
        other = ArtifactStore(town.settings).put(item_to_item.MODEL.train(DATA, item_to_item.MODEL.params, 20))
        await town.register(first)
        await town.register(other)
        await town.deployed(1, first)
        await town.stocked()
        second = "SELECT 1 FROM model_registry WHERE model = %s AND version = 2"
        await eventually(lambda: town.row(second, town.model))
        await town.answers(USER, lambda a: a["source"] == "model" and a["history_length"] == len(set(HISTORY)))
        yield town


async def supposed(town: Town, decision_id: str, what_if: WhatIf | None) -> Explanation:
    explainer = Explainer(town.settings, await open_decoder(town.settings))

    async def look() -> Explanation | None:
        try:
            return await explainer.explain(decision_id, what_if)
        except NotFound as problem:
            if problem.code != "unknown_decision":
                raise
            return None

    return await eventually(look, 60, 0.1)


async def test_another_model_is_asked_on_the_same_inputs(town: Town) -> None:
    """What version 2 would have answered; the recorded answer is verified all the same."""
    decision = await town.recommend(USER, limit=5)
    told = await supposed(town, decision["decision_id"], WhatIf.of(f"{town.model}@2", ()))
    assert told.identical
    hypothesis, known = told.hypothesis, told.known
    assert hypothesis is not None
    assert known is not None
    assert (hypothesis.source, hypothesis.version) == ("model", 2)
    scorer = OnnxScorer(ArtifactStore(town.settings).get(str(hypothesis.artifact_sha256)))
    assert scorer.metadata.model == item_to_item.MODEL.name
    expected, _ = candidates.answer(scorer.score(known.history), set(known.history), known.profile, {}, 5)
    assert list(hypothesis.remade.items) == expected
    assert {change.item_id for change in hypothesis.changes if change.now} == {item for item, _ in expected}
    document = statement(told)["hypothesis"]
    assert document["hypothetical"]
    assert "identical" not in str(document)
    assert set(hypothesis.came_in).isdisjoint(item["item_id"] for item in decision["items"])


async def test_what_had_not_happened_may_be_answered(town: Town) -> None:
    """Without its interactions an item is no longer seen; by item, position and event id the same is left out."""
    decision = await town.recommend(USER, limit=40)
    item = HISTORY[0]
    told = await supposed(town, decision["decision_id"], WhatIf.of(None, [f"item:{item}"]))
    hypothesis, known = told.hypothesis, told.known
    assert hypothesis is not None
    assert known is not None
    assert item not in hypothesis.remade.history
    assert item in known.history
    assert hypothesis.remade.history_sha256 != told.decision.history_sha256
    rows = [row for row in known.interactions if row.item_id == item]
    for names in ([str(known.position(row)) for row in rows], [str(row.event_id) for row in rows]):
        again = await supposed(town, decision["decision_id"], WhatIf.of(None, names))
        assert again.hypothesis is not None
        assert again.hypothesis.remade == hypothesis.remade
        assert names[0] in again.hypothesis.supposed[0]
    nothing = await supposed(town, decision["decision_id"], WhatIf.of(None, [f"item:{one}" for one in set(HISTORY)]))
    assert nothing.hypothesis is not None
    assert nothing.hypothesis.source == "none"
    assert any("has nothing to answer" in one for one in nothing.hypothesis.supposed)


async def test_a_popular_answer_counts_without_what_had_not_happened(town: Town) -> None:
    """One interaction less with an item, and a rank that may be lower."""
    await town.interact("nobody's friend", "i1")
    before = await town.answers("nobody", lambda a: a["source"] == "popular")
    decision = await town.recommend("nobody", limit=40)
    scores = {one["item_id"]: one["score"] for one in decision["items"]}
    with pytest.raises(Invalid, match="none of the 0 interactions"):
        await supposed(town, decision["decision_id"], WhatIf.of(None, ["item:i1"]))
    told = await supposed(town, decision["decision_id"], WhatIf.of(town.model, ()))
    assert told.hypothesis is not None
    assert told.hypothesis.source == "popular"
    assert dict(told.hypothesis.remade.items) == scores
    assert before["source"] == "popular"


async def test_what_cannot_be_supposed_is_said(town: Town) -> None:
    """Unknown models, versions and interactions, each in a sentence that names what there is."""
    decision_id = (await town.recommend(USER))["decision_id"]
    await supposed(town, decision_id, None)
    for what_if, sentence in (
        (WhatIf.of("nothing", ()), f"registered are {town.model}"),
        (WhatIf.of(f"{town.model}@7", ()), "has no version 7: it has 1, 2"),
        (WhatIf.of(None, ["interactions/0/999999"]), "interactions that were known"),
    ):
        with pytest.raises(Problem, match=sentence):
            await supposed(town, decision_id, what_if)
    with pytest.raises(Invalid, match="NAME@VERSION"):
        WhatIf.of("movies@new", ())


async def test_explanations_over_http(town: Town) -> None:
    """The same as on the command line; problems are documents."""
    decision = await town.recommend(USER)
    await supposed(town, decision["decision_id"], None)

    async def get(decision_id: str, **params: Any) -> tuple[int, dict[str, Any]]:
        url = f"{town.settings.serving.url}/decisions/{decision_id}/explanation"
        async with town.http.get(url, params=params) as response:
            return response.status, await response.json(content_type=None)

    status, told = await get(decision["decision_id"], model=f"{town.model}@2", without=f"item:{HISTORY[0]}")
    assert (status, told["verdict"]) == (200, "identical")
    assert told["hypothesis"]["version"] == 2
    assert len(told["interactions"]) == len(HISTORY)
    best = told["decision"]["items"][0]["item_id"]
    assert all(reason["interaction"].startswith("interactions/") for reason in told["remade"]["reasons"][best])
    assert (await get(decision["decision_id"], scan="true"))[1]["identical"]
    for wrong, status, code in (
        ({"decision_id": "nothing"}, 404, "unknown_decision"),
        ({"decision_id": decision["decision_id"], "model": "nothing"}, 404, "unknown_model"),
        ({"decision_id": decision["decision_id"], "without": "item:nothing"}, 422, "unknown_interaction"),
    ):
        found, problem = await get(**wrong)
        assert (found, problem["code"]) == (status, code)


async def test_many_decisions_are_verified(town: Town) -> None:
    """All of a period, or a sample: one that was changed is named, and then it is not all identical."""
    await town.recommend("nobody")
    true = (await supposed(town, (await town.recommend(USER))["decision_id"], None)).decision
    decoder = await open_decoder(town.settings)

    async def tally(**options: Any) -> Tally:
        found = Tally()
        async for one in verified(town.settings, decoder, None, None, **options):
            found.add(one)
        return found

    before = await tally()
    assert before.identical
    assert set(before.sources) >= {"model", "popular"}
    assert (await tally(sample=2)).checked == 2
    async with FactWriter(town.settings, decoder.codec) as writer:
        lie = replace(true, decision_id="lie", items=true.items[:-1])
        await writer.append(lie, meta(lie, lie.user_id))
    after = await tally()
    assert not after.identical
    assert [one.decision_id for one in after.faults] == ["lie"]
    assert after.checked == before.checked + 1


def test_nothing_verified_is_not_all_identical() -> None:
    """An empty period, or one of erased people alone, shows nothing."""
    tally = Tally()
    assert not tally.identical
    tally.add(Checked("d", "decisions/0/0", "model", "erased"))
    assert not tally.identical
    tally.add(Checked("e", "decisions/0/1", "model", "identical"))
    assert tally.identical


def test_changes_are_ranks_in_both_answers() -> None:
    """What came in, went out and moved."""
    assert list(changes([("a", 2.0), ("b", 1.0)], [("b", 9.0), ("c", 8.0)])) == [
        Change("b", 2, 1, 1.0, 9.0),
        Change("c", None, 2, None, 8.0),
        Change("a", 1, None, 2.0, None),
    ]
