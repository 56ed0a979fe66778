"""The servers as containers of a Docker engine: `RETRACE_STACK__ENGINE=containers`.

The same versions, ports and `endpoints.json` as the embedded servers, so that nothing else notices which engine runs.
testcontainers makes the containers; they outlive the command that started them and are ended by `retrace down`, so its
reaper is switched off. The data of each server is in a volume of its name and stays.
"""

import hashlib
import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr
from typing_extensions import override

from infra.settings import ElasticSettings, KafkaSettings, PostgresSettings, Settings
from infra.stack import checks, elastic, kafka, postgres
from infra.stack.ports import HOST, Ports
from infra.stack.server import POLL_S, Say, Server
from schemas.errors import Unavailable

MODELS = "/models"


@dataclass(frozen=True)
class Recipe:
    """How one server runs as a container.

    Attributes:
        port: the one clients use, inside the container.
        data: the folder in the container that a volume keeps.
        endpoints: its addresses, nested as `Settings` is.
        finish: what has to be made through the running server.
    """

    name: str
    image: str
    port: int
    environment: Mapping[str, str]
    endpoints: Mapping[str, Any]
    check: Callable[[], None]
    data: str | None = None
    command: Sequence[str] | None = None
    mounts: Mapping[Path, str] = field(default_factory=dict)
    finish: Callable[[], None] = lambda: None


def containers(settings: Settings) -> list[Server]:
    """The four servers as containers.

    Raises:
        Unavailable: testcontainers is not installed.
    """
    if importlib.util.find_spec("testcontainers") is None:
        raise Unavailable("The engine `containers` needs testcontainers; install it with `uv sync --group dev`.")
    ports = {name: getattr(settings.stack, f"{name}_port") for name in RECIPES}
    return [Container(settings, name, ports[name]) for name in RECIPES]


def kafka_recipe(settings: Settings, address: str) -> Recipe:
    """The broker's own configuration, said as its image wants it."""
    values: dict[str, str | int] = kafka.properties(Path("/var/lib/kafka/data"), 9092, 9093)
    values["listeners"] = "PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093"
    values["advertised.listeners"] = f"PLAINTEXT://{address}"
    environment = {f"KAFKA_{key.upper().replace('.', '_')}": str(value) for key, value in values.items()}
    environment["KAFKA_HEAP_OPTS"] = f"-Xmx{settings.stack.kafka_heap_mb}m"
    check = partial(checks.kafka, KafkaSettings(bootstrap=address))
    endpoints = {"kafka": {"bootstrap": address}}
    image = f"apache/kafka:{kafka.VERSION}"
    return Recipe("kafka", image, 9092, environment, endpoints, check, data="/var/lib/kafka/data")


def postgres_recipe(settings: Settings, address: str) -> Recipe:
    """PostgreSQL with pgvector; its image makes the database, we the extension."""
    password = postgres.password(settings.data_dir.absolute() / "postgres")
    dsn = f"postgresql://{postgres.USER}:{password}@{address}/{postgres.DATABASE}"
    environment = {
        "POSTGRES_USER": postgres.USER,
        "POSTGRES_PASSWORD": password,
        "POSTGRES_DB": postgres.DATABASE,
        "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256 --encoding=UTF8",
    }
    options = {
        "shared_buffers": f"{settings.stack.postgres_buffers_mb}MB",
        "max_connections": postgres.CONNECTIONS,
    }
    command = ["postgres", *(part for key, value in options.items() for part in ("-c", f"{key}={value}"))]
    return Recipe(
        "postgres",
        "pgvector/pgvector:0.8.1-pg18",
        5432,
        environment,
        {"postgres": {"dsn": dsn}},
        partial(checks.postgres, PostgresSettings(dsn=SecretStr(dsn))),
        data="/var/lib/postgresql",
        command=command,
        finish=partial(_make_extension, dsn),
    )


def elastic_recipe(settings: Settings, address: str) -> Recipe:
    """A single node without sign-in: it is bound to loopback."""
    environment = {
        "discovery.type": "single-node",
        "xpack.security.enabled": "false",
        "action.auto_create_index": "false",
        "cluster.routing.allocation.disk.threshold_enabled": "false",
        "ES_JAVA_OPTS": f"-Xms{settings.stack.elastic_heap_mb}m -Xmx{settings.stack.elastic_heap_mb}m",
    }
    url = f"http://{address}"
    check = partial(checks.elastic, ElasticSettings(url=url))
    image, data = f"elasticsearch:{elastic.VERSION}", "/usr/share/elasticsearch/data"
    return Recipe("elastic", image, 9200, environment, {"elastic": {"url": url}}, check, data=data)


def triton_recipe(settings: Settings, address: str) -> Recipe:
    """The whole Triton; it has the ONNX Runtime backend, which the wheel lacks."""
    repository = settings.model_repository
    repository.mkdir(parents=True, exist_ok=True)
    endpoints = {"grpc": [address], "model_repository": str(repository), "backend": "onnxruntime"}
    command = ["tritonserver", f"--model-repository={MODELS}", "--model-control-mode=explicit"]
    return Recipe(
        "triton",
        "nvcr.io/nvidia/tritonserver:24.10-py3",
        8001,
        {},
        {"triton": endpoints},
        partial(checks.triton, [address]),
        command=[*command, "--strict-readiness=false"],
        mounts={repository: MODELS},
    )


RECIPES: dict[str, Callable[[Settings, str], Recipe]] = {
    "kafka": kafka_recipe,
    "postgres": postgres_recipe,
    "elastic": elastic_recipe,
    "triton": triton_recipe,
}


class Container(Server):
    """One server in a container, named after the data folder."""

    def __init__(self, settings: Settings, name: str, port: int) -> None:
        self.name = name
        self._settings = settings
        self._fixed = port
        self._ports = Ports(settings.data_dir.absolute())
        folder = hashlib.sha256(str(settings.data_dir.absolute()).encode()).hexdigest()[:8]
        self._title = f"retrace-{folder}-{name}"

    @property
    @override
    def address(self) -> str:
        return f"{HOST}:{self._ports.of(self.name)}"

    @property
    @override
    def started(self) -> bool:
        return self._find() is not None

    @property
    @override
    def running(self) -> bool:
        found = self._find()
        return found is not None and found.status in ("running", "paused")

    @property
    @override
    def pid(self) -> int | None:
        return None

    @override
    def claim(self) -> None:
        self._ports.choose(self.name, self._fixed, f"RETRACE_STACK__{self.name.upper()}_PORT")

    @override
    def start(self, say: Say) -> None:
        recipe = self._recipe()
        if not self.running:
            say("starting the container (the first time its image is fetched)")
            self._run(recipe)
        self._wait(say, recipe)
        recipe.finish()

    @override
    def stop(self) -> None:
        if found := self._find():
            found.stop(timeout=round(self._settings.stack.stop_timeout_s))
            found.remove()

    @override
    def kill(self) -> None:
        self._required().kill()

    @override
    def pause(self) -> None:
        self._required().pause()

    @override
    def resume(self) -> None:
        self._required().unpause()

    @override
    def check(self) -> None:
        self._recipe().check()

    @override
    def endpoints(self) -> dict[str, Any]:
        return dict(self._recipe().endpoints)

    def _recipe(self) -> Recipe:
        return RECIPES[self.name](self._settings, self.address)

    def _run(self, recipe: Recipe) -> None:
        """Make the container anew; one that ended keeps nothing that its volume does not."""
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        if ended := self._find():
            ended.remove(force=True)
        testcontainers_config.ryuk_disabled = True
        container = DockerContainer(recipe.image, env=dict(recipe.environment), name=self._title)
        ports: dict[str, Any] = container.ports
        ports[f"{recipe.port}/tcp"] = (HOST, self._ports.of(self.name))
        if recipe.data:
            container.with_volume_mapping(self._title, recipe.data, "rw")
        for folder, inside in recipe.mounts.items():
            container.with_volume_mapping(folder, inside, "rw")
        if recipe.command:
            container.with_command(list(recipe.command))
        container.start()

    def _wait(self, say: Say, recipe: Recipe) -> None:
        until = time.monotonic() + self._settings.stack.start_timeout_s
        while True:
            say("waiting until it answers")
            try:
                return recipe.check()
            except Unavailable as error:
                if not self.running:
                    said = self._required().logs(tail=8).decode(errors="replace")
                    raise Unavailable(f"The container {self._title} ended while it started:\n{said}") from error
                if time.monotonic() > until:
                    raise
            time.sleep(POLL_S)

    def _find(self) -> Any:
        """The container, or None.

        Raises:
            Unavailable: no Docker engine answers.
        """
        import docker

        try:
            return docker.from_env().containers.get(self._title)
        except docker.errors.NotFound:
            return None
        except docker.errors.DockerException as error:
            raise Unavailable(
                "No Docker engine answers; start it, or use RETRACE_STACK__ENGINE=embedded, which needs none.",
                code="docker_missing",
            ) from error

    def _required(self) -> Any:
        found = self._find()
        if found is None:
            raise Unavailable(f"{self.name} does not run.", code="not_running")
        return found


def _make_extension(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
