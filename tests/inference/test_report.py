"""An audit report says what the log says: the same at every making, and nothing about people who were erased."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from console.__main__ import app_for
from inference.report.card import card
from inference.report.page import page
from inference.report.paper import paper
from inference.report.person import person_report
from inference.report.report import report
from inference.report.scope import again, as_fields, resolve
from infra.kafka.records import Decoder
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment
from schemas.errors import Gone, Invalid, NotFound
from schemas.profiles import ConsentWithdrawn, UserErased, UserRegistered

from .chronicle import HOSTILE, START, Chronicle, make_topics, met, served
from .weeks import three_weeks

pytestmark = pytest.mark.long

DAY = timedelta(days=1)
END = START + 30 * DAY
ROOT = Path(__file__).resolve().parents[2]

Json = dict[str, Any]


@dataclass
class Told:
    """A log, and reports on it."""

    settings: Settings
    decoder: Decoder
    log: Chronicle

    async def report(self, since: datetime | None = None, until: datetime = END, model: str | None = None) -> Json:
        scope = await resolve(self.settings, self.decoder, since, until)
        return await report(self.settings, self.decoder, scope, model)

    async def card(self, model: str, version: int) -> Json:
        scope = await resolve(self.settings, self.decoder, None, END)
        return await card(self.settings, self.decoder, scope, model, version)

    async def person(self, user: str, until: datetime = END) -> Json:
        scope = await resolve(self.settings, self.decoder, None, until)
        return await person_report(self.settings, self.decoder, scope, user)


@pytest.fixture
async def empty(settings: Settings) -> AsyncIterator[Told]:
    """A log with nothing in it yet."""
    await make_topics(settings)
    decoder = await open_decoder(settings)
    async with Chronicle(settings, decoder) as log:
        yield Told(settings, decoder, log)


@pytest.fixture
async def told(empty: Told) -> Told:
    """Three weeks of running."""
    await three_weeks(empty.log, answers=1500)
    await empty.log.written()
    return empty


async def test_what_served_when_on_whose_word(told: Told) -> None:
    """The questions of every audit, with the record that says each."""
    made = await told.report()
    (model,) = made["models"]
    assert [(s["version"], s["algorithm"], s["requested_by"]) for s in model["serving"]] == [
        (1, "popularity", "ben"),
        (2, "item-to-item", "ben"),
        (4, "ease", "ana"),
    ]
    ends = [s["to"] for s in model["serving"]]
    assert ends == [model["serving"][1]["from"], model["serving"][2]["from"], None]
    done = next(d for d in model["deployments"] if d["version"] == 2)
    assert (done["steps"][0]["step"], done["steps"][0]["by"]) == ("requested", "ben")
    assert done["steps"][1]["found"] == {"golden": "12 of 12 identical", "registered": "version 2"}
    assert all(re.fullmatch(r"deployments/\d/\d+", s["evidence"][0]) for s in done["steps"])
    version = next(v for v in model["versions"] if v["version"] == 4)
    assert version["replaced"] == 2
    assert {r["topic"] for r in version["run"]["ranges"]} == {"interactions", "profiles"}
    row = next(r for r in version["metrics"] if r["measure"] == "ndcg@10")
    assert row["values"] == {"all": 0.125, "new": 0.0875, "returning": 0.1375}
    assert row["before"]["all"] == 0.11


async def test_how_it_did_and_what_went_wrong(told: Told) -> None:
    """Volumes, fallbacks, shifts and incidents are those that were written."""
    made = await told.report()
    (model,) = made["models"]
    answers = model["answers"]
    assert answers["total"] == 1499  # number 1235 never came
    assert sum(answers["by_source"].values()) == answers["total"]
    assert answers["by_reason"]["unknown_user"] == answers["newcomers"]["answers"]
    assert answers["by_reason"]["triton_unavailable"] == answers["by_source"]["last_good"] > 10
    assert 6 < answers["latency_ms"]["p50"] < 9
    assert sum(sum(s["answers"].values()) for s in answers["course"]["steps"]) == answers["total"]
    verdicts = {(s["name"], s.get("version")): s["verdict"] for s in model["shifts"]}
    assert verdicts["history", None] == verdicts["scores", 4] == verdicts["interests", None] == "marked"
    assert verdicts["scores", 2] == verdicts["categories", None] == "steady"
    kinds = [one["kind"] for one in made["incidents"]]
    assert sorted(kinds) == ["dead_letters", "fallback_burst", "missing_answers", "rolled_back", "training_failed"]
    assert {c["name"]: c["passed"] for c in made["checks"]} == {
        "answers_on_record": False,
        "erased_left_alone": True,
        "consent_respected": True,
        "erasures_complete": True,
        "artifacts_registered": True,
        "approvals_as_policy": True,
    }
    assert [s["gaps"] for s in made["servers"]] == [[{"first": 1235, "last": 1235}]]
    assert [e["took_s"] for e in made["people"]["erasures"]] == [3, 40]
    assert made["people"]["refusing"] == {"personalisation": 0, "training": 2}


async def test_the_same_positions_give_the_same_report(told: Told) -> None:
    """Whatever is written afterwards: a report is evidence only when it can be made again."""
    scope = await resolve(told.settings, told.decoder, None, END)
    first = json.dumps(await report(told.settings, told.decoder, scope))
    await told.log.say(met("u1", "i1", END), END, "shop")
    await told.log.say(served("u1", 5000, END), END, "shop")
    await told.log.deploy("movies", 2, END, by="eve", previous=4)
    await told.log.written()
    positions = json.loads(first)["speaks_for"]
    repeated = await report(told.settings, told.decoder, await again(told.settings, positions))
    assert json.dumps(repeated) == first
    assert json.dumps(await told.report()) == first
    assert as_fields(scope) == positions
    beyond = [{**r, "end": r["end"] + 10**6} for r in positions["ranges"]]
    with pytest.raises(Invalid, match="past the end"):
        await again(told.settings, positions | {"ranges": beyond})


async def test_two_halves_make_the_whole(told: Told) -> None:
    """A period counts what was written in it, nothing twice; states are those of its time."""
    border = START + 8 * DAY
    before, since = await told.report(None, border), await told.report(border, END)
    whole = await told.report()
    parts = [one["models"][0]["answers"]["total"] for one in (before, since)]
    assert sum(parts) == whole["models"][0]["answers"]["total"]
    assert [s["version"] for s in before["models"][0]["serving"]] == [1, 2]
    assert [s["version"] for s in since["models"][0]["serving"]] == [2, 4]
    assert before["models"][0]["serving"][-1]["to"] is None
    assert before["incidents"] == []
    assert since["servers"][0]["missing"] == 1


async def test_a_period_names_nobody(told: Told) -> None:
    """A report is handed around: no id of a person, in no form, though many events speak of them."""
    made = await told.report()
    told_of = {f"u{n}" for n in range(120)}
    for form in (json.dumps(made), page(made), paper(made)):
        assert not told_of & set(re.findall(r"\bu\d+\b", form))
        assert "guest-" not in form


async def test_what_was_written_with_malice_stays_text(told: Told) -> None:
    """Reasons, titles and names are of others: nothing in them becomes part of the page."""
    documents = [await told.report(), await told.card("movies", 2), await told.person("u1")]
    assert HOSTILE in json.dumps(documents[0]).replace('\\"', '"')
    for document in documents:
        html = page(document)
        assert "<script" not in html
        assert "default-src 'none'" in html
        assert not re.search(r"(src|href)=\"(?!#)", html)
        assert not re.search(r"url\(|@import|https?://", html)
        assert "<script" not in paper(document).replace("\\<script", "")


async def test_the_card_of_a_version(told: Told) -> None:
    """What it is for, what it learnt from, how good it is, where it falls short: computed, not claimed."""
    made = await told.card("movies", 2)
    assert made["version"]["replaced"] == 1
    assert made["reproduce"] == "retrace train --from-run run-2 --verify"
    assert made["training"]["interactions_read"] == made["version"]["run"]["rows"]
    limits = {one["name"]: one["figures"] for one in made["limits"]}
    assert limits["new_people"] == {"new": 0.077, "returning": 0.121}
    assert 0 < limits["popularity_bias"]["shown_share"] < limits["popularity_bias"]["trained_share"] < 1
    assert limits["coverage"]["on_offer"] == 59
    assert "In production until 2026-03-17" in made["summary"][1]["text"]
    assert "| NDCG" not in paper(made)
    assert "run\\-2" in paper(made)
    with pytest.raises(NotFound, match=r"movies has no version 9: it has 1, 2, 4"):
        await told.card("movies", 9)
    with pytest.raises(NotFound, match=r"no model 'films': there are movies"):
        await told.card("films", 1)
    with pytest.raises(NotFound, match=r"no model 'films': there are movies"):
        await told.report(model="films")


async def test_a_person_is_told_their_own(told: Told) -> None:
    """What they were shown and by what, what they allowed, which versions learnt from them; nobody else's."""
    made = await told.person("u6")
    assert made["answers"]["total"] == len(made["answers"]["listed"]) > 3
    assert {one["model"] for one in made["answers"]["listed"]} == {"movies"}
    assert made["consent"] == {"personalisation": True, "training": True}
    assert [(one["model"], one["version"]) for one in made["trained"]] == [("movies", 1), ("movies", 2), ("movies", 4)]
    assert made["trained"][0]["interactions"] == 7
    assert not set(re.findall(r"\bu\d+\b", page(made))) - {"u6"}
    refusing = await told.person("u5")
    assert refusing["consent"]["training"] is False
    assert len(refusing["trained"]) == 3  # consent was withdrawn after the last training
    with pytest.raises(NotFound, match="nothing is on record about 'nobody'"):
        await told.person("nobody")


async def test_nothing_is_told_of_the_erased(told: Told) -> None:
    """Not even about the time before, and the sentence says where the proof stands."""
    for until in (END, START + 10 * DAY):
        with pytest.raises(Gone, match=r"erased for good.*profiles/\d/\d+.*complete at.*profiles/\d/\d+"):
            await told.person("u8", until)


async def test_answers_that_should_not_have_been_given(empty: Told) -> None:
    """After an erasure, and from the history of somebody who had refused; a minute is theirs to become known."""
    log, minute = empty.log, timedelta(minutes=1)
    await log.train("movies", 1, START, algorithm="ease", ndcg=0.1, by="ana")
    for user in ("ana", "ben"):
        await log.say(UserRegistered(user_id=user), START)
    await log.say(UserErased(user_id="ana", reason="r"), START + 10 * minute)
    await log.say(ConsentWithdrawn(user_id="ben", purpose="personalisation"), START + 10 * minute)
    late: list[str] = []
    for n, (user, after) in enumerate((("ana", 0.5), ("ana", 2), ("ben", 0.5), ("ben", 2)), start=1):
        at = START + 10 * minute + after * minute
        position = await log.say(served(user, n, at), at)
        late += [position] if after == 2 else []
    stranger = served("cid", 5, START + minute, artifact_sha256="f" * 64)
    await log.say(stranger, START + minute)
    await log.written()
    checks = {one["name"]: one for one in (await empty.report())["checks"]}
    assert checks["erased_left_alone"]["evidence"] == late[:1]
    assert checks["consent_respected"]["evidence"] == late[1:]
    assert not checks["erasures_complete"]["passed"]
    assert not checks["artifacts_registered"]["passed"]
    assert checks["answers_on_record"]["passed"]
    assert page(await empty.report()).count("not passed") == 4


FREE = {
    "shown",
    "by_source",
    "by_reason",
    "by_kind",
    "removed",
    "params",
    "found",
    "manifest",
    "figures",
    "reasons",
    "refusing",
}
"""Fields whose names are those of what the log speaks of."""


def fields(document: Any) -> set[str]:
    """Names of all fields, at any depth."""
    if isinstance(document, list):
        return {name for one in document for name in fields(one)}
    if not isinstance(document, dict):
        return set()
    return set(document) | {n for name, value in document.items() if name not in FREE for n in fields(value)}


async def test_every_field_is_described(told: Told) -> None:
    """Programs of others read it: a field that the reference does not name would be nobody's."""
    described = set(re.findall(r"`([a-z0-9_]+)`", (ROOT / "docs/reference/report-json.md").read_text()))
    made = [await told.report(), await told.card("movies", 2), await told.person("u6")]
    assert fields(made) - described <= {"last_good", "popular", "personalisation", "training"}


async def test_periods_that_make_no_sense(empty: Told) -> None:
    """Each is refused in one sentence that says what to ask for instead."""
    with pytest.raises(Invalid, match="holds nothing yet"):
        await empty.report()
    await empty.log.say(UserRegistered(user_id="u"), START)
    await empty.log.written()
    with pytest.raises(Invalid, match="give an end after its begin"):
        await empty.report(START + DAY, START + DAY)
    with pytest.raises(Invalid, match="has not come yet"):
        await empty.report(None, datetime.now(UTC) + DAY)
    with pytest.raises(Invalid, match=r"the log begins at 2026-03-02T08:00:00.*ask for a later one"):
        await empty.report(None, START - DAY)
    quiet = await empty.report(START + DAY, START + 2 * DAY)
    assert quiet["summary"][0]["text"] == "No recommendations were given."
    assert "No recommendations were given." in page(quiet)


async def retrace(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    """Run the command; its exit status, standard output and standard error."""
    environment = child_environment(settings) | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "console", *arguments]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)
    out, err = await child.communicate()
    return child.returncode or 0, out.decode(), err.decode()


async def test_the_command(told: Told, tmp_path: Path) -> None:
    """One command, one file; JSON on request; the same again; exit status 1 because a number is missing."""
    html, facts = tmp_path / "report.html", tmp_path / "report.json"
    status, out, err = await retrace(
        told.settings, "report", "--until", END.isoformat(), "-o", "json", "--out", str(html)
    )
    assert (status, json.loads(out)["kind"]) == (1, "period"), err
    assert html.read_text() == page(json.loads(out))
    facts.write_text(out)
    status, said, err = await retrace(told.settings, "report", "--again", str(facts))
    assert (status, "identical" in said) == (0, True), err
    changed = json.loads(out)
    changed["models"][0]["answers"]["total"] += 1
    facts.write_text(json.dumps(changed))
    status, said, _ = await retrace(told.settings, "report", "--again", str(facts))
    assert (status, "NOT identical" in said) == (1, True)
    status, said, err = await retrace(told.settings, "model-card", "movies", "2", "-o", "markdown")
    assert (status, said.startswith("# Model card: movies, version 2")) == (0, True), err
    status, _, err = await retrace(told.settings, "report", "--user", "u8")
    assert (status, "has been erased for good" in err, "Traceback" in err) == (1, True, False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "is no time"),
        (["--version", "2"], "name the model"),
        (["--user", "u1", "--model", "movies"], "--user or --model"),
        (["--out", "report.pdf"], "tells no form"),
        (["--again", "nowhere.json"], "is no report"),
    ],
)
def test_requests_that_make_no_sense(arguments: list[str], said: str) -> None:
    """Said in one sentence, before anything is read."""
    result = CliRunner().invoke(app_for(["report"]), ["report", *arguments])
    assert isinstance(result.exception, Invalid)
    assert said in result.exception.detail
