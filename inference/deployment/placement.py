"""What should be loaded on the Triton servers, and what is to be done about it: a fold of the deployments.

The worker does not follow orders one by one, it makes the servers as the log says they should be. So it may be killed
anywhere: the log says the same to the next one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias, assert_never

from inference.triton.repository import triton_name
from schemas.deployments import (
    ApprovalPolicySet,
    ApprovalRequested,
    DeploymentAborted,
    DeploymentApproved,
    DeploymentCompleted,
    DeploymentDeclined,
    DeploymentLoaded,
    DeploymentPromoted,
    DeploymentRequested,
    DeploymentRolledBack,
    DeploymentsEvent,
    DeploymentValidated,
)
from schemas.envelope import Meta

Task: TypeAlias = Literal["validate", "load", "retire", "withdraw"]


@dataclass(frozen=True, slots=True)
class Version:
    """A version and its artifact."""

    model: str
    number: int
    artifact_sha256: str

    @property
    def name(self) -> str:
        """What Triton calls it."""
        return triton_name(self.model, self.number)


@dataclass(frozen=True, slots=True)
class Job:
    """What the worker has to do for a deployment, at the step where it stands.

    Attributes:
        task: validate: check the artifact. load: bring it to every Triton. retire: take away the version that served
            before. withdraw: take away the version that was given up.
        deployment_id: for whom.
        version: what the deployment brings.
        removes: Triton names to be taken away.
        since: when the deployment came to this step.
        correlation_id: of the request that began it.
    """

    task: Task
    deployment_id: str
    version: Version
    removes: tuple[str, ...]
    since: datetime
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Placement:
    """One model on the servers.

    Attributes:
        live: the version that serves.
        previous: the version that served before, until it is taken away.
        coming: the version that a deployment under way brings.
        job: what has to be done now.
    """

    live: Version | None = None
    previous: Version | None = None
    coming: Version | None = None
    job: Job | None = None


Placements: TypeAlias = Mapping[str, Placement]


def evolve(before: Placement, event: DeploymentsEvent, meta: Meta) -> Placement:
    """The placement of the model after one more event."""
    match event:
        case DeploymentRequested(model=model, version=version, artifact_sha256=artifact):
            return _working(replace(before, coming=Version(model, version, artifact)), "validate", event, meta)
        case DeploymentValidated():
            return _working(before, "load", event, meta)
        case DeploymentLoaded():
            return replace(before, job=None)  # the saga promotes it, or people let it
        case ApprovalPolicySet() | ApprovalRequested() | DeploymentApproved() | DeploymentDeclined():
            return before  # nothing is to be done to the servers: it waits loaded
        case DeploymentPromoted(model=model, version=version, artifact_sha256=artifact):
            live = Version(model, version, artifact)
            return _working(Placement(live=live, previous=before.live, coming=live), "retire", event, meta)
        case DeploymentAborted():
            return _working(before, "withdraw", event, meta)
        case DeploymentCompleted() | DeploymentRolledBack():
            return Placement(live=before.live)
        case _:
            assert_never(event)


def wanted(placement: Placement) -> list[Version]:
    """The versions that every server should have loaded now: what serves, and what is about to."""
    is_loaded = placement.coming is not None and placement.job is None
    coming = placement.coming if is_loaded else None
    return list(dict.fromkeys(v for v in (placement.live, coming) if v is not None))


def _working(
    placement: Placement,
    task: Task,
    event: DeploymentRequested | DeploymentValidated | DeploymentPromoted | DeploymentAborted,
    meta: Meta,
) -> Placement:
    assert placement.coming is not None, "a deployment begins with a request"
    removes = tuple(_removed(placement, task))
    job = Job(task, event.deployment_id, placement.coming, removes, meta.time, meta.correlation_id)
    return replace(placement, job=job)


def _removed(placement: Placement, task: Task) -> Iterator[str]:
    version = {"retire": placement.previous, "withdraw": placement.coming}.get(task)
    if version is not None and version != placement.live:
        yield version.name
