"""Generated from schemas/avro/deployments; change those files and run `python -m schemas.generate`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentAborted:
    """The deployment was given up; what it loaded has yet to be unloaded.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        step: How far it had come.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentAborted"

    model: str
    deployment_id: str
    step: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentCompleted:
    """The version serves alone: the one before is unloaded.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        evidence: What was unloaded where.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentCompleted"

    model: str
    deployment_id: str
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentLoaded:
    """Every Triton has the version loaded and warmed up, beside the old one.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        evidence: Server and warm-up times.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentLoaded"

    model: str
    deployment_id: str
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPromoted:
    """The version serves from here on.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        version: Version to deploy.
        artifact_sha256: Hash of the ONNX file.
        previous: The version that served before.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentPromoted"

    model: str
    deployment_id: str
    version: int
    artifact_sha256: str
    previous: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRequested:
    """A version was asked to become the one that serves.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        version: Version to deploy.
        artifact_sha256: Hash of the ONNX file.
        rollback_to: The version that served when the deployment began, and serves again if it fails.
        requested_by: Who asked.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentRequested"

    model: str
    deployment_id: str
    version: int
    artifact_sha256: str
    rollback_to: int | None = None
    requested_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRolledBack:
    """The deployment left nothing behind; the version before it serves.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        version: Version to deploy.
        serving: The version that serves.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentRolledBack"

    model: str
    deployment_id: str
    version: int
    serving: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentValidated:
    """The artifact's hash, signature and golden requests are as they should be.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        evidence: What was checked, and what came out.
    """

    AVRO: ClassVar[str] = "retrace.deployments.DeploymentValidated"

    model: str
    deployment_id: str
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteDeployment:
    """Let the loaded version serve.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
    """

    AVRO: ClassVar[str] = "retrace.deployments.PromoteDeployment"

    model: str
    deployment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLoading:
    """The worker has loaded the version on every Triton, beside the old one.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        ok: Whether the step succeeded.
        evidence: What was checked, and what came out.
        reason: Why it failed.
    """

    AVRO: ClassVar[str] = "retrace.deployments.ReportLoading"

    model: str
    deployment_id: str
    ok: bool
    evidence: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportUnloading:
    """The worker has unloaded what is no longer wanted.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        evidence: What was unloaded where.
    """

    AVRO: ClassVar[str] = "retrace.deployments.ReportUnloading"

    model: str
    deployment_id: str
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportValidation:
    """The worker has checked the artifact.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        ok: Whether the step succeeded.
        evidence: What was checked, and what came out.
        reason: Why it failed.
    """

    AVRO: ClassVar[str] = "retrace.deployments.ReportValidation"

    model: str
    deployment_id: str
    ok: bool
    evidence: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDeployment:
    """Ask for a version to become the one that serves.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        version: Version to deploy.
        artifact_sha256: Hash of the ONNX file.
    """

    AVRO: ClassVar[str] = "retrace.deployments.RequestDeployment"

    model: str
    deployment_id: str
    version: int
    artifact_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBackDeployment:
    """Give the deployment up.

    Attributes:
        model: Name under which versions are registered and served.
        deployment_id: Deployment.
        step: Only while the deployment stands at this step; null means at any.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.deployments.RollBackDeployment"

    model: str
    deployment_id: str
    step: str | None = None
    reason: str = ""


DeploymentsEvent: TypeAlias = (
    DeploymentAborted
    | DeploymentCompleted
    | DeploymentLoaded
    | DeploymentPromoted
    | DeploymentRequested
    | DeploymentRolledBack
    | DeploymentValidated
)

DeploymentsCommand: TypeAlias = (
    PromoteDeployment | ReportLoading | ReportUnloading | ReportValidation | RequestDeployment | RollBackDeployment
)
