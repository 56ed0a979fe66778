"""A log as three weeks of running would leave it, written in seconds: every record stamped when it says it happened."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from infra.kafka.connect import aiokafka_options
from infra.kafka.partitioner import partition_of
from infra.kafka.records import Decoder
from infra.kafka.topics import KEEP_FOR_EVER, STAMPS, physical
from infra.settings import Settings
from schemas.contracts import contracts
from schemas.decisions import RecommendationServed, ScoredItem
from schemas.deployments import (
    ApprovalPolicySet,
    ApprovalRequested,
    DeploymentAborted,
    DeploymentApproved,
    DeploymentCompleted,
    DeploymentLoaded,
    DeploymentPromoted,
    DeploymentRequested,
    DeploymentRolledBack,
    DeploymentValidated,
)
from schemas.envelope import Meta
from schemas.evidence import evidence_sha256
from schemas.interactions import InteractionRecorded
from schemas.models import (
    ModelRegistered,
    OffsetRange,
    TrainingCompleted,
    TrainingRequested,
    TrainingStarted,
)
from schemas.topics import TOPICS

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script>\"&"
"""A name as somebody might choose it who means harm."""


class Chronicle:
    """Writes events where and when they are said to stand."""

    def __init__(self, settings: Settings, decoder: Decoder) -> None:
        self.settings = settings
        self._codec = decoder.codec
        self._ends: Counter[tuple[str, int]] = Counter()
        self._ids = random.Random(7)
        self._producer: AIOKafkaProducer | None = None
        self._sent: list[Any] = []

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(**aiokafka_options(self.settings.kafka), linger_ms=20)
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._producer is not None
        await self._producer.stop()

    async def say(self, event: Any, at: datetime, actor: str = "ana") -> str:
        """Append an event; its position."""
        contract = contracts()[event.AVRO]
        topic = str(contract.topic)
        key = getattr(event, str(contract.key))
        partition = partition_of(key, self.settings.kafka.partitions)
        offset = self._ends[topic, partition]
        self._ends[topic, partition] += 1
        place: dict[str, Any] = (
            {"expected_offset": offset, "command_offset": offset} if TOPICS[topic].is_decided else {}
        )
        id = UUID(int=self._ids.getrandbits(128), version=4)
        meta = Meta(id=id, type=event.AVRO, source="test", subject=key, time=at, actor=actor, **place)
        assert self._producer is not None
        self._sent.append(
            await self._producer.send(
                physical(self.settings, topic),
                self._codec.encode(event),
                key=key.encode(),
                partition=partition,
                headers=meta.headers(),
                timestamp_ms=int(at.timestamp() * 1000),
            )
        )
        return f"{topic}/{partition}/{offset}"

    async def written(self) -> None:
        """Wait until everything is in the log."""
        for sent in self._sent:
            await sent
        self._sent.clear()

    def ranges(self, *topics: str) -> tuple[OffsetRange, ...]:
        """What these topics hold by now."""
        return tuple(
            OffsetRange(topic=topic, partition=p, first=0, end=self._ends[topic, p])
            for topic in topics
            for p in range(self.settings.kafka.partitions)
        )

    async def train(self, model: str, version: int, at: datetime, *, algorithm: str, ndcg: float, by: str) -> None:
        """A run that ends well, and the version that it makes."""
        run, done = f"run-{version}", at + timedelta(minutes=2)
        data, artifact = f"{version}" * 64, f"{version:x}a" * 32
        ranges = self.ranges("interactions", "profiles")
        metrics = {
            f"{measure}@10{segment}": round(ndcg * factor * part, 6)
            for measure, factor in (("ndcg", 1.0), ("recall", 0.8), ("coverage", 3.0))
            for segment, part in (("", 1.0), (".new", 0.7), (".returning", 1.1))
        }
        await self.say(
            TrainingRequested(model=model, run_id=run, algorithm=algorithm, params={"l2": "250"}, k=50, ranges=()),
            at,
            by,
        )
        await self.say(TrainingStarted(model=model, run_id=run, ranges=ranges), at + timedelta(seconds=2), "trainer")
        await self.say(
            TrainingCompleted(
                model=model,
                run_id=run,
                dataset_sha256=data,
                dataset_rows=sum(r.end for r in ranges if r.topic == "interactions"),
                duplicates=0,
                artifact_sha256=artifact,
                artifact_bytes=4096,
                metrics=metrics,
                duration_s=118.0,
            ),
            done,
            "trainer",
        )
        await self.say(
            ModelRegistered(
                model=model,
                version=version,
                run_id=run,
                algorithm=algorithm,
                artifact_sha256=artifact,
                dataset_sha256=data,
                metrics=metrics,
            ),
            done,
            "trainer",
        )

    async def deploy(
        self,
        model: str,
        version: int,
        at: datetime,
        *,
        by: str,
        previous: int | None,
        approvers: Sequence[str] = (),
    ) -> None:
        """A deployment that goes all the way, by the policy that so many people have to approve it."""
        id, artifact = f"d-{version}", f"{version:x}a" * 32
        same: dict[str, Any] = {"model": model, "deployment_id": id}
        sha: dict[str, Any] = {"version": version, "artifact_sha256": artifact}
        found = {
            "validated": {"golden": "12 of 12 identical", "registered": f"version {version}"},
            "loaded": {"127.0.0.1:8001": "warmed up in 31 ms"},
        }
        wanted = len(approvers)
        if approvers:
            policy = ApprovalPolicySet(model=model, approvals=wanted, reason="four eyes", set_by="root")
            await self.say(policy, at - timedelta(minutes=1), "root")
        steps: list[tuple[Any, str]] = [
            (DeploymentRequested(**same, **sha, rollback_to=previous, requested_by=by, approvals_wanted=wanted), by),
            (DeploymentValidated(**same, evidence=found["validated"]), "deployer"),
            (DeploymentLoaded(**same, evidence=found["loaded"]), "deployer"),
            *self._approved({**same, **sha}, found, approvers),
            (DeploymentPromoted(**same, **sha, previous=previous), "deployer"),
            (
                DeploymentCompleted(**same, evidence={"unloaded": f"{model}-v{previous}" if previous else "nothing"}),
                "deployer",
            ),
        ]
        for place, (step, who) in enumerate(steps):
            await self.say(step, at + timedelta(seconds=3 * place), who)

    @staticmethod
    def _approved(
        named: dict[str, Any], found: Mapping[str, Mapping[str, str]], approvers: Sequence[str]
    ) -> list[tuple[Any, str]]:
        if not approvers:
            return []
        seen: dict[str, Any] = {"evidence_sha256": evidence_sha256(found), "approvals_wanted": len(approvers)}
        asked = ApprovalRequested(**named, **seen, timeout_s=604_800, evidence=found)
        given = [
            (DeploymentApproved(**named, **seen, approver=who, comment=f"{HOSTILE} is gone", approvals=number), who)
            for number, who in enumerate(approvers, start=1)
        ]
        return [(asked, "deployer"), *given]

    async def give_up(self, model: str, version: int, at: datetime, *, by: str, serving: int, reason: str) -> None:
        """A deployment that is taken back."""
        same: dict[str, Any] = {"model": model, "deployment_id": f"d-{version}-failed"}
        sha = f"{version:x}a" * 32
        asked = DeploymentRequested(**same, version=version, artifact_sha256=sha, rollback_to=serving, requested_by=by)
        await self.say(asked, at, by)
        await self.say(
            DeploymentAborted(**same, step="requested", reason=reason), at + timedelta(seconds=4), "deployer"
        )
        undone = DeploymentRolledBack(**same, version=version, serving=serving, reason=reason)
        await self.say(undone, at + timedelta(seconds=6), "deployer")


async def make_topics(settings: Settings) -> None:
    """Topics that keep the times of their records, where the broker would put its own; before anybody makes them."""
    configs = {**KEEP_FOR_EVER, STAMPS: "CreateTime"}
    wanted = [
        NewTopic(
            physical(settings, topic.name), settings.kafka.partitions, settings.kafka.replication, topic_configs=configs
        )
        for topic in TOPICS.values()
    ]
    admin = AIOKafkaAdminClient(**aiokafka_options(settings.kafka))
    await admin.start()
    try:
        made = await admin.create_topics(wanted)
        assert not [fault for fault in made.topic_errors if fault[1]], made
    finally:
        await admin.close()


def served(user: str, number: int, at: datetime, **changes: Any) -> RecommendationServed:
    """An answer; by version 1 of `movies` when nothing else is said."""
    values: dict[str, Any] = {
        "user_id": user,
        "decision_id": f"decision-{number}",
        "model": "movies",
        "source": "model",
        "version": 1,
        "artifact_sha256": "1a" * 32,
        "positions": (),
        "history_length": 5,
        "history_sha256": "0" * 64,
        "candidates": 10,
        "limit": 10,
        "items": (ScoredItem(item_id="i1", score=2.0), ScoredItem(item_id="i2", score=1.0)),
        "served_at": at,
        "latency_ms": 8.0,
        "server": "host/one",
        "sequence": number,
    }
    return RecommendationServed(**values | changes)


def met(user: str, item: str, at: datetime, kind: Any = "view") -> InteractionRecorded:
    return InteractionRecorded(user_id=user, item_id=item, kind=kind, occurred_at=at)
