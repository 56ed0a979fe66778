"""Events for the tests of the read side, with what a test does not care about filled in."""

from projections.testing import minute
from schemas.decisions import AsOf, RecommendationServed, ScoredItem
from schemas.deployments import (
    DeploymentPromoted,
)
from schemas.models import (
    TrainingCompleted,
)


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


def promoted(version: int, deployment: str) -> DeploymentPromoted:
    return DeploymentPromoted(
        model="movies", deployment_id=deployment, version=version, artifact_sha256=f"a{version}", previous=None
    )


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
