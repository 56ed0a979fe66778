"""Which version of each model was in production when, who brought it there, and on what evidence."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from schemas.contracts import contracts
from schemas.deployments import DeploymentAborted, DeploymentPromoted, DeploymentRequested, DeploymentRolledBack
from schemas.envelope import Recorded

OVER = frozenset({"completed", "rolled_back"})


@dataclass(frozen=True)
class Step:
    """One step of a deployment, as its event has it.

    Attributes:
        name: such as `validated`.
        by: in whose name the command was sent that led to it.
        evidence: what was checked, and what came out.
        position: where the event stands.
    """

    name: str
    at: datetime
    by: str
    evidence: Mapping[str, str]
    position: str
    reason: str = ""


@dataclass
class Deployment:
    """A version on its way to production.

    Attributes:
        replaced: the version that served when this one was promoted, or when it began.
        steps: in the order of the log.
    """

    deployment_id: str
    model: str
    version: int
    artifact_sha256: str
    replaced: int | None
    requested_by: str
    steps: list[Step] = field(default_factory=list)

    @property
    def state(self) -> str:
        """How far it had come."""
        return self.steps[-1].name

    def step(self, name: str) -> Step | None:
        """The step of this name."""
        return next((step for step in self.steps if step.name == name), None)


@dataclass(frozen=True)
class Serving:
    """A time in which one version answered for a model.

    Attributes:
        since: of its promotion.
        until: of the next promotion; None while it serves.
    """

    model: str
    version: int
    artifact_sha256: str
    deployment_id: str
    since: datetime
    until: datetime | None
    position: str


class Rollouts:
    """The fold of `deployments`."""

    def __init__(self) -> None:
        self.deployments: dict[tuple[str, str], Deployment] = {}

    def hear(self, one: Recorded) -> None:
        """The next event of the topic; answers to commands say nothing here."""
        event: Any = one.event
        if contracts()[event.AVRO].is_outcome:
            return
        key = (event.model, event.deployment_id)
        if isinstance(event, DeploymentRequested):
            self.deployments[key] = Deployment(
                event.deployment_id,
                event.model,
                event.version,
                event.artifact_sha256,
                event.rollback_to,
                event.requested_by,
            )
        deployment = self.deployments[key]
        if isinstance(event, DeploymentPromoted):
            deployment.replaced = event.previous
        deployment.steps.append(_step(one))

    def of(self, model: str) -> list[Deployment]:
        """The deployments of a model, in their order."""
        return [one for one in self.deployments.values() if one.model == model]

    def models(self) -> list[str]:
        """Every model of which a version was asked for."""
        return sorted({one.model for one in self.deployments.values()})

    def servings(self, model: str) -> list[Serving]:
        """What answered for a model, one after another."""
        promoted = sorted(
            ((step, one) for one in self.of(model) if (step := one.step("promoted"))), key=lambda pair: pair[0].at
        )
        ends: list[datetime | None] = [step.at for step, _ in promoted[1:]]
        return [
            Serving(model, d.version, d.artifact_sha256, d.deployment_id, step.at, end, step.position)
            for (step, d), end in zip(promoted, [*ends, None], strict=False)
        ]


def _step(one: Recorded) -> Step:
    event: Any = one.event
    reason = event.reason if isinstance(event, DeploymentAborted | DeploymentRolledBack) else ""
    return Step(
        name=_name(type(event).__name__),
        at=one.meta.time,
        by=one.meta.actor,
        evidence=dict(getattr(event, "evidence", {})),
        position=str(one.position),
        reason=reason,
    )


def _name(event: str) -> str:
    """`RolledBack` of `DeploymentRolledBack`, in the words of the read models: `rolled_back`."""
    bare = event.removeprefix("Deployment")
    return "".join(f"_{c.lower()}" if c.isupper() and place else c.lower() for place, c in enumerate(bare))


def during(servings: Iterable[Serving], since: datetime | None, until: datetime) -> list[Serving]:
    """Those that answered at some moment of a period."""
    return [one for one in servings if one.since < until and (since is None or one.until is None or one.until > since)]
