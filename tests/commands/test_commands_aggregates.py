"""What each aggregate decides, by example; and that its state survives Avro."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from commands.aggregates import deployment as deployments
from commands.aggregates import item as items
from commands.aggregates import model as models
from commands.aggregates import user as users
from commands.protocol.simulation.material import CODEC
from commands.testing import Spec, meta_for
from schemas.catalog import AddItem, ChangeItem, ItemAdded, ItemChanged, ItemRetired, RetireItem
from schemas.deployments import (
    DeploymentAborted,
    DeploymentCompleted,
    DeploymentLoaded,
    DeploymentPromoted,
    DeploymentRequested,
    DeploymentRolledBack,
    DeploymentValidated,
    PromoteDeployment,
    ReportLoading,
    ReportUnloading,
    ReportValidation,
    RequestDeployment,
    RollBackDeployment,
)
from schemas.errors import Problem
from schemas.models import (
    CompleteTraining,
    FailTraining,
    ModelRegistered,
    ModelRetired,
    RequestTraining,
    RetireModel,
    StartTraining,
    TrainingCompleted,
    TrainingFailed,
    TrainingRequested,
    TrainingStarted,
)
from schemas.profiles import (
    ChangePreferences,
    ConsentGiven,
    ConsentWithdrawn,
    GiveConsent,
    PreferencesChanged,
    RegisterUser,
    UserRegistered,
    WithdrawConsent,
)

user, item, model, deployment = (Spec(m.AGGREGATE) for m in (users, items, models, deployments))

REGISTERED = UserRegistered(user_id="u")
ADDED = ItemAdded(item_id="i", title="Alien", categories=("horror",))
A, B = "a" * 64, "b" * 64


def test_a_user_registers_once() -> None:
    """An id names one person for ever."""
    user.given().when(RegisterUser(user_id="u", name="Ana")).then(UserRegistered(user_id="u", name="Ana"))
    user.given(REGISTERED).when(RegisterUser(user_id="u")).refused("already_registered")


def test_an_unknown_user_has_no_preferences_or_consents() -> None:
    """Read models fold profiles from the registration on."""
    user.given().when(ChangePreferences(user_id="u", language="de")).refused("unknown_user", 404)
    user.given().when(GiveConsent(user_id="u", purpose="training")).refused("unknown_user", 404)
    user.given().when(WithdrawConsent(user_id="u", purpose="training")).refused("unknown_user", 404)


def test_preferences_that_do_not_differ_change_nothing() -> None:
    """An event says that something changed."""
    change = ChangePreferences(user_id="u", language="de")
    changed = PreferencesChanged(user_id="u", language="de")
    user.given(REGISTERED).when(change).then(changed)
    user.given(REGISTERED, changed).when(change).nothing()


def test_a_consent_is_on_record_once_for_each_change_of_mind() -> None:
    """An auditor asks when a consent was given, and silence is no consent."""
    given_, withdrawn = (e(user_id="u", purpose="training") for e in (ConsentGiven, ConsentWithdrawn))
    give, withdraw = (c(user_id="u", purpose="training") for c in (GiveConsent, WithdrawConsent))
    user.given(REGISTERED).when(give).then(given_)
    user.given(REGISTERED, given_).when(give).nothing()
    user.given(REGISTERED, given_).when(withdraw).then(withdrawn)
    user.given(REGISTERED, given_, withdrawn).when(withdraw).nothing()
    user.given(REGISTERED, given_).when(GiveConsent(user_id="u", purpose="personalisation")).then(
        ConsentGiven(user_id="u", purpose="personalisation")
    )


def test_an_item_is_added_once() -> None:
    """Interactions name an item by its id, so it may not become another."""
    item.given().when(AddItem(item_id="i", title="Alien", categories=("horror",))).then(ADDED)
    item.given(ADDED).when(AddItem(item_id="i", title="Aliens")).refused("item_exists")


def test_a_change_says_only_what_differs() -> None:
    """History is read by people, who ask what changed."""
    change = ChangeItem(item_id="i", title="Alien", description="In space.", categories=("horror",))
    item.given(ADDED).when(change).then(ItemChanged(item_id="i", description="In space."))
    item.given(ADDED).when(ChangeItem(item_id="i", title="Alien")).nothing()
    item.given().when(ChangeItem(item_id="i", title="Alien")).refused("unknown_item", 404)


def test_a_retired_item_stays_as_it_was() -> None:
    """It is never recommended again, and explanations still need it as it was."""
    retired = ItemRetired(item_id="i", reason="rights")
    item.given(ADDED).when(RetireItem(item_id="i", reason="rights")).then(retired)
    item.given(ADDED, retired).when(RetireItem(item_id="i")).nothing()
    item.given(ADDED, retired).when(ChangeItem(item_id="i", title="X")).refused("item_retired")
    item.given().when(RetireItem(item_id="i")).refused("unknown_item", 404)


def complete(run_id: str, artifact: str = A) -> CompleteTraining:
    return CompleteTraining(
        model="movies",
        run_id=run_id,
        dataset_sha256=B,
        dataset_rows=3,
        duplicates=0,
        artifact_sha256=artifact,
        artifact_bytes=9,
        metrics={"ndcg": 0.5},
        duration_s=1.0,
    )


def completed(run_id: str, version: int, artifact: str = A) -> tuple[TrainingCompleted, ModelRegistered]:
    events = models.AGGREGATE.decide(
        models.Model({run_id: models.Run("ease", "started")}, dict.fromkeys(range(1, version), False)),
        complete(run_id, artifact),
        meta_for(complete(run_id)),
    )
    first, second = events
    assert isinstance(first, TrainingCompleted)
    assert isinstance(second, ModelRegistered)
    return first, second


def run(run_id: str) -> tuple[TrainingRequested, TrainingStarted]:
    return (
        TrainingRequested(model="movies", run_id=run_id, algorithm="ease"),
        TrainingStarted(model="movies", run_id=run_id, ranges=()),
    )


def test_a_run_goes_through_its_steps_and_becomes_the_next_version() -> None:
    """Versions are 1, 2, 3 without gaps, and each names its run."""
    requested, started = run("r1")
    model.given().when(RequestTraining(model="movies", run_id="r1", algorithm="ease")).then(requested)
    model.given(requested).when(StartTraining(model="movies", run_id="r1", ranges=())).then(started)
    first = completed("r1", 1)
    assert (first[1].version, first[1].algorithm) == (1, "ease")
    model.given(requested, started).when(complete("r1")).then(*first)
    model.given(requested, started, *first, *run("r2")).when(complete("r2")).then(*completed("r2", 2))


def test_a_report_that_comes_again_changes_nothing() -> None:
    """Workers report until they are answered."""
    requested, started = run("r1")
    failed = TrainingFailed(model="movies", run_id="r1", reason="no data")
    model.given(requested, started).when(StartTraining(model="movies", run_id="r1", ranges=())).nothing()
    model.given(requested, started, *completed("r1", 1)).when(complete("r1")).nothing()
    model.given(requested, started, failed).when(FailTraining(model="movies", run_id="r1")).nothing()


def test_a_run_cannot_go_back_or_skip_a_step() -> None:
    """What was trained on what has to be unambiguous."""
    requested, started = run("r1")
    model.given(requested).when(RequestTraining(model="movies", run_id="r1", algorithm="ease")).refused("run_exists")
    model.given().when(complete("r1")).refused("unknown_run", 404)
    model.given(requested).when(complete("r1")).refused("run_requested")
    model.given(requested, started, *completed("r1", 1)).when(complete("r1", B)).refused("run_completed")
    model.given(requested, started, *completed("r1", 1)).when(FailTraining(model="movies", run_id="r1")).refused(
        "run_completed"
    )


def test_a_version_is_retired_once() -> None:
    """A retired version may not be deployed again."""
    events = (*run("r1"), *completed("r1", 1))
    retired = ModelRetired(model="movies", version=1, reason="bias")
    model.given(*events).when(RetireModel(model="movies", version=1, reason="bias")).then(retired)
    model.given(*events, retired).when(RetireModel(model="movies", version=1)).nothing()
    model.given(*events).when(RetireModel(model="movies", version=2)).refused("unknown_version", 404)


REQUEST = RequestDeployment(model="movies", deployment_id="d2", version=2, artifact_sha256=B)
LIVE = (
    DeploymentRequested(model="movies", deployment_id="d1", version=1, artifact_sha256=A, requested_by="ana"),
    DeploymentValidated(model="movies", deployment_id="d1"),
    DeploymentLoaded(model="movies", deployment_id="d1"),
    DeploymentPromoted(model="movies", deployment_id="d1", version=1, artifact_sha256=A),
    DeploymentCompleted(model="movies", deployment_id="d1"),
)
REQUESTED = DeploymentRequested(
    model="movies", deployment_id="d2", version=2, artifact_sha256=B, rollback_to=1, requested_by="ben"
)
D2: dict[str, Any] = {"model": "movies", "deployment_id": "d2"}
VALIDATED, LOADED = DeploymentValidated(**D2), DeploymentLoaded(**D2)
PROMOTED = DeploymentPromoted(**D2, version=2, artifact_sha256=B, previous=1)
ABORTED = DeploymentAborted(**D2, step="validated", reason="no memory")


def test_a_request_names_who_asked_and_what_to_go_back_to() -> None:
    """The way back is fixed when the way forward begins."""
    deployment.given(*LIVE).when(REQUEST, actor="ben").then(REQUESTED)
    deployment.given(*LIVE, REQUESTED).when(REQUEST).nothing()


def test_one_deployment_at_a_time() -> None:
    """Two at once would each believe to know the version to go back to."""
    other = RequestDeployment(model="movies", deployment_id="d3", version=3, artifact_sha256=A)
    deployment.given(*LIVE, REQUESTED).when(other).refused("deployment_running")
    deployment.given(*LIVE).when(
        RequestDeployment(model="movies", deployment_id="d3", version=1, artifact_sha256=A)
    ).refused("already_live")
    deployment.given(*LIVE).when(
        RequestDeployment(model="movies", deployment_id="d1", version=2, artifact_sha256=A)
    ).refused("deployment_exists")


def test_the_way_to_completed() -> None:
    """Each report takes the deployment one step further."""
    deployment.given(*LIVE, REQUESTED).when(ReportValidation(**D2, ok=True)).then(VALIDATED)
    deployment.given(*LIVE, REQUESTED, VALIDATED).when(ReportLoading(**D2, ok=True)).then(LOADED)
    deployment.given(*LIVE, REQUESTED, VALIDATED, LOADED).when(PromoteDeployment(**D2)).then(PROMOTED)
    deployment.given(*LIVE, REQUESTED, VALIDATED, LOADED, PROMOTED).when(ReportUnloading(**D2)).then(
        DeploymentCompleted(**D2)
    )


def test_the_way_back() -> None:
    """A failed step aborts, and the version before serves as if nothing had been."""
    deployment.given(*LIVE, REQUESTED, VALIDATED).when(ReportLoading(**D2, ok=False, reason="no memory")).then(ABORTED)
    rolled_back = DeploymentRolledBack(**D2, version=2, serving=1, reason="no memory")
    deployment.given(*LIVE, REQUESTED, VALIDATED, ABORTED).when(ReportUnloading(**D2)).then(rolled_back)
    state = deployment.given(*LIVE, REQUESTED, VALIDATED, ABORTED, rolled_back).state
    assert (state.live, state.running) == (1, None)


def test_late_and_foreign_reports_change_nothing() -> None:
    """Workers are at least once, and so are timers."""
    case = deployment.given(*LIVE, REQUESTED, VALIDATED)
    case.when(ReportValidation(**D2, ok=False)).nothing()
    case.when(ReportLoading(model="movies", deployment_id="d9", ok=True)).nothing()
    case.when(RollBackDeployment(**D2, step="requested")).nothing()
    case.when(ReportUnloading(**D2)).nothing()


def test_promotion_needs_loading_and_cannot_be_taken_back() -> None:
    """From the promotion on others may have answered with the new version."""
    deployment.given(*LIVE, REQUESTED).when(PromoteDeployment(**D2)).refused("not_loaded")
    deployment.given(*LIVE, REQUESTED, VALIDATED, ABORTED).when(PromoteDeployment(**D2)).refused("deployment_aborted")
    promoted = deployment.given(*LIVE, REQUESTED, VALIDATED, LOADED, PROMOTED)
    promoted.when(PromoteDeployment(**D2)).nothing()
    promoted.when(RollBackDeployment(**D2)).refused("already_promoted")
    promoted.when(RollBackDeployment(**D2, step="loaded")).nothing()
    deployment.given().when(RollBackDeployment(**D2)).refused("unknown_deployment", 404)


def test_a_timeout_aborts_the_step_that_it_is_about() -> None:
    """A step that never reports must not hold the model for ever."""
    deployment.given(*LIVE, REQUESTED, VALIDATED).when(
        RollBackDeployment(**D2, step="validated", reason="no memory")
    ).then(ABORTED)


DEPLOYMENT_IDS = st.sampled_from(["d1", "d2", "d3"])
REPORTS = st.one_of(
    st.builds(ReportValidation, model=st.just("m"), deployment_id=DEPLOYMENT_IDS, ok=st.booleans()),
    st.builds(ReportLoading, model=st.just("m"), deployment_id=DEPLOYMENT_IDS, ok=st.booleans()),
    st.builds(ReportUnloading, model=st.just("m"), deployment_id=DEPLOYMENT_IDS),
    st.builds(PromoteDeployment, model=st.just("m"), deployment_id=DEPLOYMENT_IDS),
    st.builds(RollBackDeployment, model=st.just("m"), deployment_id=DEPLOYMENT_IDS, step=st.none()),
    st.builds(
        RequestDeployment,
        model=st.just("m"),
        deployment_id=DEPLOYMENT_IDS,
        version=st.integers(1, 3),
        artifact_sha256=st.just(A),
    ),
)


@given(st.lists(REPORTS, max_size=40))
def test_whatever_comes_at_most_one_deployment_runs(commands: list[Any]) -> None:
    """Ends promoted or fully compensated: no order of reports leaves two under way or the live version wrong."""
    state: Any = deployments.AGGREGATE.initial
    for command in commands:
        before = state
        try:
            events = deployments.AGGREGATE.decide(state, command, meta_for(command))
        except Problem:
            continue
        for event in events:
            state = deployments.AGGREGATE.evolve(state, CODEC.decode(CODEC.encode(event)))
        under_way = [id for id, known in state.known.items() if not known.is_over]
        assert under_way == ([state.running] if state.running else [])
        if state.live != before.live:
            assert any(isinstance(event, DeploymentPromoted) for event in events)


@given(st.lists(st.builds(ChangeItem, item_id=st.just("i"), title=st.none() | st.sampled_from(["a", "b"])), max_size=8))
def test_an_item_is_what_its_last_changes_said(changes: list[ChangeItem]) -> None:
    """Leaving out what does not differ may not lose anything."""
    state: Any = items.AGGREGATE.evolve(items.AGGREGATE.initial, ADDED)
    title = ADDED.title
    for change in changes:
        title = title if change.title is None else change.title
        for event in items.AGGREGATE.decide(state, change, meta_for(change)):
            state = items.AGGREGATE.evolve(state, CODEC.decode(CODEC.encode(event)))
    assert state.title == title
