"""A log, a processor, a saga, a worker and servers, all in memory: what a deployment meets, in any order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from uuid6 import uuid7

from commands.aggregates import deployment
from inference.deployment.placement import Job, Placement, evolve
from inference.saga import Progress, due, hear
from inference.sagas.deployment import SAGA
from schemas.contracts import contracts
from schemas.deployments import (
    ApproveDeployment,
    DeclineDeployment,
    ReportLoading,
    ReportUnloading,
    ReportValidation,
    RequestDeployment,
    SetApprovalPolicy,
)
from schemas.envelope import Meta, Recorded
from schemas.errors import NotFound, Rejected
from schemas.identity import derived_id
from schemas.outcomes import CommandAccepted, CommandRejected, CommandRepeated
from schemas.position import Position

MODEL = "films"
IDS = UUID(int=0)
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS_S = 604_800
HASHES = {version: f"{version:064x}" for version in range(1, 10)}


def meta(event: Any, *, at: datetime = START, caused_by: UUID | None = None, id: UUID | None = None) -> Meta:
    return Meta(
        id=id or UUID(int=uuid7().int),
        type=event.AVRO,
        source="test",
        subject=MODEL,
        time=at,
        causation_id=str(caused_by or uuid7()),
    )


def recorded(event: Any, offset: int = 0, **about: Any) -> Recorded:
    return Recorded(event, meta(event, **about), Position("deployments", 0, offset))


@dataclass
class World:
    """Everything beside the code under test; each step of it is one method that a test may call when it likes."""

    now: datetime = START
    log: list[Recorded] = field(default_factory=list)
    waiting: list[tuple[UUID, Any, str]] = field(default_factory=list)
    answered: set[UUID] = field(default_factory=set)
    progress: Progress[Any] = field(default_factory=Progress)
    heard: int = 0
    committed: int = 0
    loaded: set[str] = field(default_factory=set)

    def request(self, version: int) -> None:
        """Somebody asks for a version."""
        id = f"d{version}-{len(self.log)}"
        self.send(
            uuid5(IDS, id),
            RequestDeployment(model=MODEL, deployment_id=id, version=version, artifact_sha256=HASHES[version]),
        )

    def send(self, id: UUID, command: Any, actor: str = "anonymous") -> None:
        """A command gets into the log of commands."""
        self.waiting.append((id, command, actor))

    def want(self, approvals: int, timeout_s: int = DAYS_S) -> None:
        """Somebody sets the policy."""
        command = SetApprovalPolicy(model=MODEL, approvals=approvals, timeout_s=timeout_s)
        self.send(UUID(int=uuid7().int), command, "root")

    def approve(self, who: str) -> None:
        """Somebody approves what waits, if anything does."""
        if self.state.running is None:
            return
        one = self.state.known[self.state.running]
        seen = {"artifact_sha256": one.artifact_sha256, "evidence_sha256": one.evidence_sha256}
        said: Any = {"model": MODEL, "deployment_id": self.state.running, **seen}
        self.send(UUID(int=uuid7().int), ApproveDeployment(**said), who)

    def decline(self, who: str) -> None:
        """Somebody says no to what is under way."""
        if self.state.running is not None:
            no = DeclineDeployment(model=MODEL, deployment_id=self.state.running, reason="no")
            self.send(UUID(int=uuid7().int), no, who)

    def decide(self, index: int = 0) -> None:
        """The processor takes one of the waiting commands."""
        if not self.waiting:
            return
        id, command, actor = self.waiting.pop(index % len(self.waiting))
        for event in self._answer(id, command, actor):
            self.log.append(recorded(event, len(self.log), at=self.now, caused_by=id))
        self.answered.add(id)

    def listen(self, *, again: bool = False) -> None:
        """The saga hears what is new; `again` after a crash, from the first event."""
        if again:
            self.progress, self.heard = Progress(), 0
        for entry in self.log[self.heard :]:
            self.progress = hear(SAGA, self.progress, entry, handled=entry.position.offset < self.committed)
        self.heard = len(self.log)

    def speak(self) -> None:
        """The saga says what is due; perhaps a second time."""
        for said in due(self.progress, self.now):
            assert said.id == derived_id("default", said.key)
            self.send(said.id, said.command)

    def commit(self) -> None:
        """What was said has been answered: the saga need not hear it again."""
        if not any(said.at <= self.now for said in self.progress.pending.values()):
            self.committed = self.heard

    def work(self, *, fails: bool = False, lost: bool = False) -> None:
        """The worker folds the log and does what has to be done; `lost`: it dies before it reports."""
        job = self.placement.job
        if job is None:
            return
        report = self._do(job, fails)
        if not lost:
            self.send(UUID(int=uuid7().int), report)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def settle(self) -> None:
        """Let everything go on without faults until nothing moves."""
        for _ in range(20):
            self.listen()
            self.speak()
            self.work()
            while self.waiting:
                self.decide()

    @property
    def placement(self) -> Placement:
        placement = Placement()
        for entry in self.log:
            if not contracts()[entry.event.AVRO].is_outcome:
                placement = evolve(placement, entry.event, entry.meta)
        return placement

    @property
    def state(self) -> deployment.Deployments:
        state = deployment.Deployments()
        for entry in self.log:
            if not contracts()[entry.event.AVRO].is_outcome:
                state = deployment.evolve(state, entry.event)
        return state

    @property
    def steps(self) -> list[str]:
        """Names of the events, without answers."""
        return [type(e.event).__name__ for e in self.log if not contracts()[e.event.AVRO].is_outcome]

    def _answer(self, id: UUID, command: Any, actor: str) -> Sequence[Any]:
        named = {"command_id": str(id), "command_type": command.AVRO}
        if id in self.answered:
            return [
                CommandRepeated(**named, same_body=True, first_offset=0, version=0, code=None, detail=None, status=200)
            ]
        try:
            events = deployment.decide(self.state, command, meta(command).on_behalf(actor))
        except (Rejected, NotFound) as problem:
            return [CommandRejected(**named, code=problem.code, detail=problem.detail, status=problem.status)]
        return events or [CommandAccepted(**named)]

    def _do(self, job: Job, fails: bool) -> Any:
        said: Any = {"model": MODEL, "deployment_id": job.deployment_id}
        match job.task:
            case "validate":
                return ReportValidation(**said, ok=not fails, reason="bad hash" if fails else "")
            case "load":
                self.loaded.add(job.version.name)  # a load that is reported as failed may have happened
                return ReportLoading(**said, ok=not fails, reason="other scores" if fails else "")
            case _:
                self.loaded -= set(job.removes)
                return ReportUnloading(**said)
