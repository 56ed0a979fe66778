"""The report on what our own services wrote: a real saga on a real Triton, real answers, an erasure."""

from collections.abc import AsyncIterator

import pytest

from inference.report.card import card
from inference.report.page import page
from inference.report.report import report
from inference.report.scope import resolve
from inference.report.verdicts import verdicts
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.profiles import EraseUser, RegisterUser

from .town import DATA, Town, open_town

pytestmark = pytest.mark.long

USER = next(user for user, items in DATA.histories().items() if 5 < len(set(items)) < 25)


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    """Two versions have been in production; a third one was taken back."""
    async with open_town(settings) as town:
        await town.stock()
        await town.start("deployer", "serving")
        for version, l2 in ((1, 50.0), (2, 300.0)):
            artifact = town.artifact(l2=l2)
            await town.register(artifact)
            await town.deployed(version, artifact)
            await town.answers(USER, lambda a, v=version: a["version"] == v)  # type: ignore[misc]
        id = await town.deploy(3, "0" * 64)
        await town.reaches(id, "rolled_back")
        yield town


async def test_a_report_on_our_own_services(town: Town) -> None:
    """Every name, step, hash and number in the report is one that a service of ours wrote."""
    await town.send(RegisterUser(user_id="someone"))
    await town.send(EraseUser(user_id="someone", reason="request 7"))
    decoder = await open_decoder(town.settings)
    made = await report(town.settings, decoder, await resolve(town.settings, decoder, None, None), town.model)
    (model,) = made["models"]
    assert [one["version"] for one in model["serving"]] == [1, 2]
    assert {one["requested_by"] for one in model["serving"]} == {"test"}
    assert {one["promoted_by"] for one in model["serving"]} == {"deployer"}
    assert [one["state"] for one in model["deployments"]] == ["completed", "completed", "rolled_back"]
    validated = model["deployments"][0]["steps"][1]
    assert validated["step"] == "validated"
    assert validated["found"]["artifact_sha256"] == model["serving"][0]["artifact_sha256"]
    assert model["answers"]["by_source"]["model"] >= 2
    checks = {one["name"]: one["passed"] for one in made["checks"]}
    assert checks.pop("erasures_complete") is False  # no eraser runs in this town
    assert all(checks.values()), made["checks"]
    assert "rolled_back" in {one["kind"] for one in made["incidents"]}
    assert town.model in page(made)


async def test_the_card_has_the_parameters_of_the_artifact(town: Town) -> None:
    """Also those that nobody named when the run was asked for."""
    decoder = await open_decoder(town.settings)
    scope = await resolve(town.settings, decoder, None, None)
    made = await card(town.settings, decoder, scope, town.model, 2)
    assert made["algorithm"]["params"]["l2"] == 300.0
    assert made["serves"]
    assert "In production since" in made["summary"][1]["text"]
    assert "Model card" in page(made)
    unsigned, accounted = await verdicts(town.settings, decoder, scope)
    assert not unsigned["passed"]  # no notary runs in this town
    assert "cannot be shown" in unsigned["text"]
    assert (accounted["passed"], "1 running" in accounted["text"]) == (True, True), accounted
    assert accounted["text"] in page({**made, "verdicts": [unsigned, accounted]})
