"""What each view makes of its events, in one batch and one by one."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from psycopg import AsyncConnection

from infra.settings import Settings
from projections.testing import Log, given, minute
from projections.view import View
from projections.views import (
    approval_policies,
    catalogue,
    command_log,
    decisions,
    deployments,
    live_models,
    model_registry,
    popularity,
    training_runs,
    training_steps,
    trending,
    user_history,
    user_profile,
)
from schemas.catalog import ItemAdded, ItemChanged, ItemRetired
from schemas.decisions import AsOf, RecommendationServed, ScoredItem
from schemas.deployments import (
    ApprovalPolicySet,
    ApprovalRequested,
    DeploymentAborted,
    DeploymentApproved,
    DeploymentDeclined,
    DeploymentLoaded,
    DeploymentPromoted,
    DeploymentRequested,
    DeploymentRolledBack,
    DeploymentValidated,
)
from schemas.envelope import Recorded
from schemas.evidence import evidence_sha256
from schemas.features import ItemTrendMeasured
from schemas.interactions import InteractionRecorded
from schemas.models import (
    ModelRegistered,
    ModelRetired,
    OffsetRange,
    TrainingCancelled,
    TrainingCompleted,
    TrainingDatasetBuilt,
    TrainingEvaluated,
    TrainingFailed,
    TrainingProgressed,
    TrainingQueued,
    TrainingRequested,
    TrainingResourcesUsed,
    TrainingRetried,
    TrainingStarted,
)
from schemas.outcomes import CommandAccepted, CommandRejected, CommandRepeated
from schemas.profiles import ConsentGiven, ConsentWithdrawn, PreferencesChanged, UserRegistered


class Spec:
    """A view in the test's schema."""

    def __init__(self, database: AsyncConnection[Any], settings: Settings, view: View) -> None:
        self._database = database
        self._schema = settings.postgres.db_schema
        self._view = view

    async def rows(self, *events: Recorded) -> list[dict[str, Any]]:
        return await given(self._database, self._schema, self._view, *events)

    async def row(self, *events: Recorded) -> dict[str, Any]:
        (row,) = await self.rows(*events)
        return row


def viewed(user: str, item: str, at: float, **more: Any) -> InteractionRecorded:
    return InteractionRecorded(user_id=user, item_id=item, kind="view", occurred_at=minute(at), **more)


async def test_profile_follows_every_event(database: AsyncConnection[Any], settings: Settings) -> None:
    """Serving reads consent and hidden categories from here; a lost withdrawal would be a breach."""
    row = await Spec(database, settings, user_profile.VIEW).row(
        *Log().of(
            UserRegistered(user_id="ana", name="Ana", attributes={"age": "30"}),
            ConsentWithdrawn(user_id="ana", purpose="training"),
            PreferencesChanged(user_id="ana", favourite_categories=("drama",), hidden_categories=("war", "noir")),
            ConsentWithdrawn(user_id="ana", purpose="personalisation"),
            ConsentGiven(user_id="ana", purpose="personalisation"),
        )
    )
    assert row == {
        "user_id": "ana",
        "name": "Ana",
        "attributes": {"age": "30"},
        "favourite_categories": ["drama"],
        "hidden_categories": ["war", "noir"],
        "language": None,
        "personalisation": True,
        "training": False,
        "registered_at": minute(0),
        "version": 5,
    }


async def test_preferences_are_replaced_whole(database: AsyncConnection[Any], settings: Settings) -> None:
    """A language that is no longer given is gone, not kept from before."""
    row = await Spec(database, settings, user_profile.VIEW).row(
        *Log().of(
            PreferencesChanged(user_id="ana", language="de", hidden_categories=("war",)),
            PreferencesChanged(user_id="ana"),
        )
    )
    assert (row["language"], row["hidden_categories"]) == (None, [])


async def test_history_keeps_every_interaction(database: AsyncConnection[Any], settings: Settings) -> None:
    """The history is the model's input, so two visits of one item are two rows."""
    rows = await Spec(database, settings, user_history.VIEW).rows(
        *Log().of(viewed("ana", "a", 2), viewed("ana", "a", 1, value=3.0), viewed("bo", "b", 2, decision_id="d"))
    )
    assert [(r["user_id"], r["item_id"], r["value"], r["offset"]) for r in sorted(rows, key=lambda r: r["offset"])] == [
        ("ana", "a", None, 0),
        ("ana", "a", 3.0, 1),
        ("bo", "b", None, 2),
    ]


async def test_a_fact_that_comes_twice_counts_once(database: AsyncConnection[Any], settings: Settings) -> None:
    """A client that repeats an upload must not change what is popular, nor what is recommended."""
    log, chosen = Log(), uuid5(NAMESPACE_URL, "chosen by the client")
    events = [
        log.add(viewed("ana", "a", 1), id=chosen),
        log.add(viewed("ana", "a", 1), id=chosen),
        log.add(viewed("ana", "a", 2)),
        log.add(viewed("bo", "a", 1), id=chosen),
    ]
    assert len(await Spec(database, settings, user_history.VIEW).rows(*events)) == 3
    row = await Spec(database, settings, popularity.VIEW).row(*events)
    assert (row["interactions"], row["last_at"]) == (3, minute(2))


async def test_catalogue_leaves_what_a_change_leaves(database: AsyncConnection[Any], settings: Settings) -> None:
    """Null in a change means `as it was`; an empty list means none."""
    row = await Spec(database, settings, catalogue.VIEW).row(
        *Log().of(
            ItemAdded(
                item_id="a", title="Alien", description="In space", categories=("horror",), attributes={"y": "1979"}
            ),
            ItemChanged(item_id="a", title="Alien!"),
            ItemChanged(item_id="a", categories=()),
            ItemRetired(item_id="a", reason="rights"),
        )
    )
    assert row == {
        "item_id": "a",
        "title": "Alien!",
        "description": "In space",
        "categories": [],
        "attributes": {"y": "1979"},
        "retired": True,
        "version": 4,
    }


def completed(run: str) -> TrainingCompleted:
    return TrainingCompleted(
        model="movies",
        run_id=run,
        dataset_sha256="d",
        dataset_rows=10,
        duplicates=1,
        artifact_sha256="a",
        artifact_bytes=5,
        metrics={"recall": 0.5},
        duration_s=1.5,
    )


async def test_training_run_from_request_to_artifact(database: AsyncConnection[Any], settings: Settings) -> None:
    """A run must tell the exact data it read, not the data that was asked for."""
    part = OffsetRange(topic="interactions", partition=0, first=0, end=10)
    row = await Spec(database, settings, training_runs.VIEW).row(
        *Log().of(
            TrainingRequested(model="movies", run_id="r", algorithm="ease", params={"l2": "5"}),
            TrainingStarted(model="movies", run_id="r", ranges=(part,)),
            completed("r"),
        )
    )
    assert row["status"] == "completed"
    assert row["ranges"] == [{"topic": "interactions", "partition": 0, "first": 0, "end": 10}]
    assert (row["algorithm"], row["params"], row["metrics"]) == ("ease", {"l2": "5"}, {"recall": 0.5})
    assert (row["requested_at"], row["updated_at"]) == (minute(0), minute(2))


async def test_training_run_that_failed_says_why(database: AsyncConnection[Any], settings: Settings) -> None:
    """Whoever waits for the run needs the reason."""
    row = await Spec(database, settings, training_runs.VIEW).row(
        *Log().of(
            TrainingRequested(model="movies", run_id="r", algorithm="ease"),
            TrainingFailed(model="movies", run_id="r", reason="no data"),
        )
    )
    assert (row["status"], row["reason"]) == ("failed", "no data")


async def test_training_run_tells_how_far_it_is(database: AsyncConnection[Any], settings: Settings) -> None:
    """A row per run is what people look at while it waits, works and ends, attempt after attempt."""
    run: dict[str, Any] = {"model": "movies", "run_id": "r"}
    part = OffsetRange(topic="interactions", partition=0, first=0, end=10)
    first = (
        TrainingRequested(**run, algorithm="ease"),
        TrainingQueued(**run, attempt=1, ahead=2, reason="2 runs are under way"),
        TrainingStarted(**run, ranges=(part,), slot=1, worker="one/1"),
        TrainingProgressed(**run, step="reading", done=5, total=10, percent=20.0, eta_s=4.0, worker="two/2"),
        TrainingDatasetBuilt(
            **run, dataset_sha256="d", dataset_rows=9, duplicates=1, silent_kinds=("skip",), manifest='{"format": 3}'
        ),
        TrainingEvaluated(**run, metrics={"recall": 0.5}),
        TrainingCancelled(**run, attempt=1, reason="wrong"),
        TrainingResourcesUsed(**run, attempt=1, cpu_s=2.5, wall_s=3.0, peak_memory_bytes=100, bytes_read=50),
    )
    spec = Spec(database, settings, training_runs.VIEW)
    row = await spec.row(*Log().of(*first[:2]))
    assert (row["status"], row["waits_for"], row["attempt"]) == ("queued", "2 runs are under way", 1)
    row = await spec.row(*Log().of(*first))
    assert (row["status"], row["reason"], row["step"], row["percent"]) == ("cancelled", "wrong", "reading", 20.0)
    assert (row["worker"], row["slot"], row["started_at"], row["ended_at"]) == ("two/2", 1, minute(2), minute(6))
    assert (row["dataset_rows"], row["dataset"]["silent_kinds"], row["manifest"]) == (9, ["skip"], {"format": 3})
    assert (row["resources"]["cpu_s"], row["resources"]["bytes_read"]) == (2.5, 50)
    again = TrainingRetried(**run, attempt=2, ranges=(part,))
    row = await spec.row(*Log().of(*first, again))
    assert (row["status"], row["attempt"], row["ranges"][0]["end"]) == ("requested", 2, 10)
    assert (row["reason"], row["step"], row["dataset_rows"], row["metrics"]) == (None, None, None, {})
    row = await spec.row(*Log().of(*first, again, TrainingStarted(**run, ranges=(part,), attempt=2), completed("r")))
    assert (row["status"], row["percent"], row["metrics"]) == ("completed", 100.0, {"recall": 0.5})


async def test_training_steps_tell_the_story(database: AsyncConnection[Any], settings: Settings) -> None:
    """An auditor reads who did what, when, and with which figures."""
    rows = await Spec(database, settings, training_steps.VIEW).rows(
        *Log().of(
            TrainingRequested(model="movies", run_id="r", algorithm="ease"),
            TrainingStarted(model="movies", run_id="r", ranges=(), worker="one/1"),
            TrainingFailed(model="movies", run_id="r", reason="no data", code="empty_dataset"),
            TrainingRetried(model="movies", run_id="r", attempt=2, ranges=()),
        )
    )
    told = [(row["name"], row["attempt"], row["at"]) for row in sorted(rows, key=lambda row: row["offset"])]
    assert told == [
        ("requested", 1, minute(0)),
        ("started", 1, minute(1)),
        ("failed", 1, minute(2)),
        ("retried", 2, minute(3)),
    ]
    assert next(row["details"] for row in rows if row["name"] == "failed")["code"] == "empty_dataset"


async def test_registry_marks_retired_versions(database: AsyncConnection[Any], settings: Settings) -> None:
    """A retired version stays known: decisions made by it must remain explainable."""
    registered = [
        ModelRegistered(
            model="movies",
            version=v,
            run_id=f"r{v}",
            algorithm="ease",
            artifact_sha256=f"a{v}",
            dataset_sha256="d",
            metrics={},
        )
        for v in (1, 2)
    ]
    rows = await Spec(database, settings, model_registry.VIEW).rows(
        *Log().of(*registered, ModelRetired(model="movies", version=1))
    )
    assert {r["version"]: (r["run_id"], r["retired"]) for r in rows} == {1: ("r1", True), 2: ("r2", False)}


def promoted(version: int, deployment: str) -> DeploymentPromoted:
    return DeploymentPromoted(
        model="movies", deployment_id=deployment, version=version, artifact_sha256=f"a{version}", previous=None
    )


async def test_deployment_keeps_the_evidence_of_each_step(database: AsyncConnection[Any], settings: Settings) -> None:
    """Governance asks on what evidence a version went live."""
    row = await Spec(database, settings, deployments.VIEW).row(
        *Log().of(
            DeploymentRequested(
                model="movies", deployment_id="d", version=2, artifact_sha256="a", rollback_to=1, requested_by="ana"
            ),
            DeploymentValidated(model="movies", deployment_id="d", evidence={"hash": "ok"}),
            DeploymentLoaded(model="movies", deployment_id="d", evidence={"server": "one"}),
            DeploymentAborted(model="movies", deployment_id="d", step="loaded", reason="golden answers differ"),
            DeploymentRolledBack(model="movies", deployment_id="d", version=2, serving=1),
        )
    )
    assert (row["step"], row["version"], row["rollback_to"], row["reason"]) == (
        "rolled_back",
        2,
        1,
        "golden answers differ",
    )
    assert row["evidence"] == {"validated": {"hash": "ok"}, "loaded": {"server": "one"}}


ASKED = DeploymentRequested(
    model="movies", deployment_id="d", version=2, artifact_sha256="a", requested_by="ana", approvals_wanted=2
)
FOUND: dict[str, dict[str, str]] = {"validated": {"golden": "exact"}, "loaded": {"server": "one"}}
WAITING = (
    ASKED,
    DeploymentValidated(model="movies", deployment_id="d", evidence=FOUND["validated"]),
    DeploymentLoaded(model="movies", deployment_id="d", evidence=FOUND["loaded"]),
    ApprovalRequested(
        model="movies",
        deployment_id="d",
        version=2,
        artifact_sha256="a",
        approvals_wanted=2,
        timeout_s=3600,
        evidence=FOUND,
        evidence_sha256=evidence_sha256(FOUND),
    ),
)


def approved(number: int) -> DeploymentApproved:
    return DeploymentApproved(
        model="movies",
        deployment_id="d",
        version=2,
        artifact_sha256="a",
        evidence_sha256=evidence_sha256(FOUND),
        approver=f"approver {number}",
        comment="fine",
        approvals=number,
        approvals_wanted=2,
    )


async def test_a_deployment_shows_who_approved_what(database: AsyncConnection[Any], settings: Settings) -> None:
    """An approver has to see what is asked of whom until when, and the hash by which to name it."""
    spec = Spec(database, settings, deployments.VIEW)
    row = await spec.row(*Log().of(*WAITING, approved(1)))
    assert (row["step"], row["approvals_wanted"], row["approve_until"]) == ("awaiting_approval", 2, minute(63))
    assert row["evidence_sha256"] == evidence_sha256(row["evidence"]), "what is shown is what is hashed"
    (first,) = row["approvals"]
    assert (first["approver"], first["comment"], first["artifact_sha256"]) == ("approver 1", "fine", "a")
    assert (first["position"], first["evidence_sha256"]) == ("deployments/0/4", row["evidence_sha256"])


async def test_the_last_approval_is_a_step(database: AsyncConnection[Any], settings: Settings) -> None:
    """Whoever waits for approvals sees that none is wanted any more."""
    row = await Spec(database, settings, deployments.VIEW).row(*Log().of(*WAITING, approved(1), approved(2)))
    assert (row["step"], [one["approver"] for one in row["approvals"]]) == ("approved", ["approver 1", "approver 2"])


async def test_a_refusal_names_its_author(database: AsyncConnection[Any], settings: Settings) -> None:
    """Who said no stays on record when the deployment is taken back."""
    declined = DeploymentDeclined(
        model="movies", deployment_id="d", version=2, artifact_sha256="a", declined_by="eve", reason="worse"
    )
    aborted = DeploymentAborted(model="movies", deployment_id="d", step="awaiting_approval", reason="worse")
    row = await Spec(database, settings, deployments.VIEW).row(*Log().of(*WAITING, declined, aborted))
    assert (row["step"], row["declined_by"], row["reason"]) == ("aborted", "eve", "worse")


async def test_a_refusal_alone_moves_nothing(database: AsyncConnection[Any], settings: Settings) -> None:
    """A batch may end between the refusal and what follows from it."""
    declined = DeploymentDeclined(
        model="movies", deployment_id="d", version=2, artifact_sha256="a", declined_by="eve", reason="worse"
    )
    row = await Spec(database, settings, deployments.VIEW).row(*Log().of(*WAITING, declined))
    assert (row["step"], row["declined_by"]) == ("awaiting_approval", "eve")


async def test_the_last_policy_holds(database: AsyncConnection[Any], settings: Settings) -> None:
    """Each replaces the one before, whole."""
    first = ApprovalPolicySet(model="movies", approvals=1, requester_may_approve=True, timeout_s=60, set_by="root")
    second = ApprovalPolicySet(model="movies", approvals=2, reason="four eyes", set_by="eve")
    row = await Spec(database, settings, approval_policies.VIEW).row(*Log().of(first, second))
    assert row == {
        "model": "movies",
        "approvals": 2,
        "requester_may_approve": False,
        "timeout_s": 604_800,
        "reason": "four eyes",
        "set_by": "eve",
        "set_at": minute(1),
    }


async def test_live_model_after_a_rollback_is_the_one_before(
    database: AsyncConnection[Any], settings: Settings
) -> None:
    """A rollback names a version; serving needs its artifact, and who brought it."""
    row = await Spec(database, settings, live_models.VIEW).row(
        *Log().of(
            promoted(1, "d1"),
            promoted(2, "d2"),
            DeploymentRolledBack(model="movies", deployment_id="d2", version=2, serving=1),
        )
    )
    assert row == {
        "model": "movies",
        "version": 1,
        "artifact_sha256": "a1",
        "deployment_id": "d1",
        "since": minute(2),
    }


async def test_live_model_survives_a_deployment_that_never_served(
    database: AsyncConnection[Any], settings: Settings
) -> None:
    """A failed deployment changes nothing for those who ask, not even since when."""
    row = await Spec(database, settings, live_models.VIEW).row(
        *Log().of(promoted(1, "d1"), DeploymentRolledBack(model="movies", deployment_id="d2", version=2, serving=1))
    )
    assert (row["version"], row["deployment_id"], row["since"]) == (1, "d1", minute(0))


async def test_nothing_is_live_after_the_first_deployment_failed(
    database: AsyncConnection[Any], settings: Settings
) -> None:
    """Serving must fall back, not look for a version that was never promoted."""
    spec = Spec(database, settings, live_models.VIEW)
    assert await spec.rows(*Log().of(DeploymentRolledBack(model="movies", deployment_id="d", version=1))) == []


def served(decision: str, user: str = "ana") -> RecommendationServed:
    return RecommendationServed(
        user_id=user,
        decision_id=decision,
        model="movies",
        source="model",
        version=1,
        positions=(AsOf(view="user_history", topic="interactions", partition=0, next_offset=7),),
        history_length=3,
        history_sha256="h",
        candidates=100,
        filtered=("x",),
        limit=1,
        items=(ScoredItem(item_id="a", score=0.5),),
        served_at=minute(0),
        latency_ms=3.0,
        server="s",
        sequence=1,
    )


async def test_decision_keeps_what_explains_it(database: AsyncConnection[Any], settings: Settings) -> None:
    """An explanation starts from this row."""
    row = await Spec(database, settings, decisions.VIEW).row(*Log().of(served("d1"), served("d1")))
    assert row["items"] == [{"item_id": "a", "score": 0.5}]
    assert row["positions"] == [{"view": "user_history", "topic": "interactions", "partition": 0, "next_offset": 7}]
    assert (row["filtered"], row["offset"]) == (["x"], 0)


async def test_trending_shows_the_newest_window(database: AsyncConnection[Any], settings: Settings) -> None:
    """A late measurement of an old window must not bring yesterday's trend back; a repeated one is a correction."""

    def measured(end: int, interactions: int) -> ItemTrendMeasured:
        return ItemTrendMeasured(
            item_id="a", window_start=minute(end - 5), window_end=minute(end), interactions=interactions, score=1.0
        )

    row = await Spec(database, settings, trending.VIEW).row(
        *Log().of(measured(5, 1), measured(10, 4), measured(5, 2), measured(10, 6))
    )
    assert (row["window_end"], row["interactions"]) == (minute(10), 6)


async def test_command_log_answers_every_command_once(database: AsyncConnection[Any], settings: Settings) -> None:
    """A client that lost its connection asks here what became of its command."""
    log = Log()
    spec = Spec(database, settings, command_log.VIEW)
    rows = await spec.rows(
        log.add(UserRegistered(user_id="ana"), causation_id="c0", command_offset=0),
        log.add(ConsentGiven(user_id="ana", purpose="training"), causation_id="c0", command_offset=0),
        log.add(
            CommandRejected(command_id="c1", command_type="t", code="exists", detail="known", status=409),
            key="ana",
            command_offset=1,
        ),
        log.add(
            CommandRepeated(command_id="c0", command_type="t", same_body=True, first_offset=0, version=2, status=201),
            key="ana",
            command_offset=2,
        ),
        log.add(ConsentGiven(user_id="ana", purpose="training"), causation_id="c3", command_offset=3),
        log.add(CommandAccepted(command_id="c4", command_type="t"), key="bo", command_offset=4),
    )
    answers = {
        r["command_offset"]: (r["command_id"], r["outcome"], r["status"], r["version"], r["offset"]) for r in rows
    }
    assert answers == {
        0: ("c0", "accepted", 200, 2, 1),
        1: ("c1", "rejected", 409, 2, 2),
        2: ("c0", "repeated", 201, 2, 3),
        3: ("c3", "accepted", 200, 3, 4),
        4: ("c4", "accepted", 200, 0, 5),
    }
