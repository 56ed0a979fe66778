"""Every setting of Retrace, and the only reader of the environment.

A value comes from the environment (`RETRACE_KAFKA__BOOTSTRAP=...`), else from the addresses and the key that
`retrace up` wrote to `<data_dir>`, else from the default below. All faults are reported at once.
"""

import json
import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

ENDPOINTS_FILE = "endpoints.json"
ADMIN_KEY_FILE = "admin.key"
MASTER_KEY_FILE = "personal.key"
NOTARY_KEY_FILE = "notary.key"
SHA256 = r"^[0-9a-f]{64}$"


class KafkaSettings(BaseModel):
    """Where the log is and how to sign in to it."""

    bootstrap: str = Field("127.0.0.1:9092", description="comma-separated host:port of the brokers")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ca_file: Path | None = Field(None, description="certificate authority of the brokers, PEM")
    replication: int = Field(1, description="copies of each partition; 3 in production", ge=1)
    min_insync_replicas: int = Field(
        1, description="copies that must have a record before it counts; 2 in production", ge=1
    )
    partitions: int = Field(4, description="partitions of each keyed topic, fixed when the topic is made", ge=1)


class PostgresSettings(BaseModel):
    """Where the relational read models live."""

    dsn: SecretStr = Field(
        SecretStr("postgresql://retrace@127.0.0.1:5432/retrace"), description="libpq connection string"
    )
    db_schema: str = Field("retrace", description="schema that holds the read models", pattern=r"^[a-z_][a-z0-9_]*$")


class ElasticSettings(BaseModel):
    """Where the search indices live."""

    url: str = "http://127.0.0.1:9200"
    index_prefix: str = Field("retrace-", description="put before every index and alias")
    api_key: SecretStr | None = None


class TritonSettings(BaseModel):
    """The inference servers."""

    grpc: list[str] = Field(["127.0.0.1:8001"], description="host:port of every Triton server")
    model_repository: Path | None = Field(
        None, description="folder that every Triton server polls; default <data_dir>/triton/models"
    )
    timeout_ms: int = Field(50, description="how long a scoring call may take before the fallback answers", gt=0)
    backend: Literal["python", "onnxruntime"] = Field(
        "python", description="python: on the CPU, the bits explain repeats; onnxruntime: on GPU nodes that have it"
    )
    instances: int = Field(1, description="requests that one model works on at once, on each server", ge=1)


class RegistrySettings(BaseModel):
    """The schema registry (ours or any that speaks the Confluent REST API)."""

    url: str = "http://127.0.0.1:8081"

    @property
    def host(self) -> str:
        """The interface our own registry binds to: the host of its address."""
        return urlsplit(self.url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        """The port our own registry binds to: the port of its address."""
        return urlsplit(self.url).port or 8081


class HttpSettings(BaseModel):
    """One HTTP service of ours."""

    host: str = Field("127.0.0.1", description="interface to bind to; loopback unless told otherwise")
    port: int = Field(0, description="0 chooses a free port", ge=0, le=65535)

    @property
    def url(self) -> str:
        """The address clients use."""
        return f"http://{self.host}:{self.port}"


class RecommendSettings(BaseModel):
    """How recommendations are answered and recorded."""

    default_model: str = Field("movies", description="the model that answers when the caller names none")
    max_limit: int = Field(100, description="most items in one answer", ge=1)
    poll_ms: int = Field(100, description="how often routing and catalogue are looked at for changes", gt=0)
    store_timeout_ms: int = Field(200, description="how long reading the user may take before the fallback", gt=0)
    hedge_ms: int = Field(15, description="after which a second Triton is asked as well", gt=0)
    last_good: int = Field(10_000, description="users whose last good answer is kept in memory", ge=0)
    queue_size: int = Field(10_000, description="answers that wait to be recorded", ge=1)
    queue_full: Literal["shed", "refuse"] = Field(
        "shed", description="shed: answer and count what was not recorded; refuse: answer 503 instead"
    )
    kafka_patience_s: float = Field(30, description="how long recording may stand still before health turns red", gt=0)
    tickets: Path | None = Field(
        None, description="folder of the counts of answers, on a local disk; default <data_dir>/tickets"
    )
    report_s: float = Field(10, description="how often a server says on the log how many answers it has given", gt=0)


class JwtSettings(BaseModel):
    """Whose JSON Web Tokens are taken, and what their claims are called."""

    issuer: str = Field(description="claim `iss` has to be this")
    audience: str = Field(description="claim `aud` has to be or to hold this")
    jwks_url: str = Field(description="where the issuer publishes its keys")
    algorithm: Literal["RS256", "ES256", "EdDSA"] = Field("RS256", description="the only one taken")
    roles_claim: str = Field("roles", description="a list, or words; with dots, a path: realm_access.roles")
    tenant_claim: str | None = Field(None, description="the tenant; default the setting `tenant` for everybody")
    leeway_s: float = Field(30, description="how far the issuer's clock may be from ours", ge=0)
    cache_s: float = Field(600, description="after which the issuer's keys are fetched again", gt=0)
    refresh_s: float = Field(10, description="least time between two fetches, however many unknown keys come", gt=0)


class AccessSettings(BaseModel):
    """Who may do what. There is no switch that lets everybody in."""

    key: SecretStr | None = Field(None, description="the key that clients send; default that in <data_dir>/admin.key")
    admin_hash: str | None = Field(
        None, description="SHA-256 of the installation's own key, which opens before there are others", pattern=SHA256
    )
    jwt: JwtSettings | None = Field(None, description="take the tokens of an issuer as well")
    last_use_s: float = Field(300, description="how often at most the use of a key is put on record", gt=0)


class SearchSettings(BaseModel):
    """How items are found by their meaning."""

    sentence_model: Path | None = Field(
        None, description="ONNX file of one that reads BERT's uncased vocabulary; default the shipped one"
    )
    timeout_ms: int = Field(50, description="how long a query's vector may take before words alone decide", gt=0)
    instances: int = Field(1, description="texts that the sentence model works on at once, on each server", ge=1)


class AdmissionSettings(BaseModel):
    """When the command API refuses, because Kafka or the processor cannot follow."""

    max_unconfirmed: int = Field(2000, description="commands and facts that Kafka has not confirmed", ge=1)
    max_waiting: int = Field(5000, description="requests that wait for a decision", ge=1)
    stall_s: float = Field(1, description="age of an unconfirmed append from which on others are refused", gt=0)
    confirm_s: float = Field(3, description="how long Kafka may take to confirm an append before it is in doubt", gt=0)


class DeployerSettings(BaseModel):
    """How versions are brought to the Triton servers and taken away."""

    grace_s: float = Field(5, description="how long the version before stays loaded after a promotion", ge=0)
    reconcile_s: float = Field(1, description="how often each Triton is asked whether it has what should serve", gt=0)
    retry_s: float = Field(2, description="wait after a step that could not be done yet", gt=0)


class TrainerSettings(BaseModel):
    """How training runs are carried out; the same for all trainers of an installation."""

    at_once: int = Field(2, description="runs under way at once, over all trainers", ge=1, le=1000)
    per_model: int = Field(1, description="runs of one model under way at once", ge=1)
    progress_s: float = Field(5, description="how often at most a run's progress within a step is put on record", gt=0)


class OpenLineageSettings(BaseModel):
    """Where training runs are told as OpenLineage run events; nowhere unless a file or an address is given."""

    file: Path | None = Field(None, description="file that gets one event a line")
    url: str | None = Field(None, description="address that takes POST requests: http://HOST:PORT/api/v1/lineage")
    api_key: SecretStr | None = Field(None, description="sent as Authorization: Bearer KEY")
    namespace: str = Field("retrace", description="namespace of the jobs", min_length=1)
    facets_url: str | None = Field(
        None, description="where the schemas of our own facets are; default <address of the queries>/lineage/facets"
    )
    timeout_s: float = Field(10, description="how long the address may take to answer", gt=0)


class ProcessorSettings(BaseModel):
    """What the processor of commands keeps of each of its partitions."""

    aggregates: int = Field(100_000, description="aggregates kept in memory, those used last", ge=0)
    answers: int = Field(200_000, description="answers kept in memory for commands that may come again", ge=0)
    snapshot_s: float = Field(10, description="age at which a change is written to the snapshot", gt=0)
    snapshots: Path | None = Field(None, description="folder of the snapshots; default <data_dir>/processor")


class PersonalSettings(BaseModel):
    """The keys that personal data is encrypted under."""

    master_key: SecretStr | None = Field(
        None, description="32 bytes in base64, under which people's keys are wrapped; default <data_dir>/personal.key"
    )
    keys: Path | None = Field(
        None, description="folder of people's keys, the same for all services; default <data_dir>/personal"
    )
    cache_s: float = Field(10, description="how long a key is kept in memory", ge=0)
    cache_size: int = Field(20_000, description="keys kept in memory", ge=0)


class NotarySettings(BaseModel):
    """How the log is checkpointed: signed hashes of closed ranges, on the topic `audit`."""

    records: int = Field(50_000, description="records after which a partition gets a checkpoint", ge=1, le=1_000_000)
    seconds: float = Field(30, description="age at which records get a checkpoint, however few they are", gt=0)
    origin: str = Field(
        "retrace", description="name of the installation, on every checkpoint", pattern=r"^[ -~]{1,200}$"
    )
    key_file: Path | None = Field(None, description="private key that signs, PEM; default <data_dir>/notary.key")
    public_keys: Path | None = Field(
        None, description="folder of the public keys of all that ever signed; default <data_dir>/notary"
    )
    verify_s: float = Field(86_400, description="how often the notary verifies the whole log; 0: never", ge=0)


class StackSettings(BaseModel):
    """The servers that `retrace up` runs on this machine."""

    engine: Literal["embedded", "containers", "external"] = Field(
        "embedded",
        description="embedded: from package registries; containers: testcontainers on Docker; external: run elsewhere",
    )
    kafka_heap_mb: int = Field(1024, ge=256)
    elastic_heap_mb: int = Field(1024, ge=256)
    postgres_buffers_mb: int = Field(128, description="shared_buffers of PostgreSQL", ge=16)
    start_timeout_s: float = Field(120, description="how long one server may take until it is healthy", gt=0)
    stop_timeout_s: float = Field(20, description="how long a server may take to stop before it is killed", gt=0)
    kafka_port: int = Field(0, description="0 chooses a free port and keeps it", ge=0, le=65535)
    kafka_advertised_port: int = Field(
        0, description="where Kafka sends its clients, when something stands between; 0: to itself", ge=0, le=65535
    )
    postgres_port: int = Field(0, description="0 chooses a free port and keeps it", ge=0, le=65535)
    elastic_port: int = Field(0, description="0 chooses a free port and keeps it", ge=0, le=65535)
    triton_port: int = Field(0, description="gRPC; 0 chooses a free port and keeps it", ge=0, le=65535)
    registry_port: int = Field(0, description="0 chooses a free port and keeps it", ge=0, le=65535)


class Settings(BaseSettings):
    """All settings. Built once, in `__main__` or in a test, and handed down."""

    model_config = SettingsConfigDict(
        env_prefix="RETRACE_", env_nested_delimiter="__", env_ignore_empty=True, extra="ignore"
    )

    data_dir: Path = Field(Path(".retrace"), description="folder for server data, logs and artifacts")
    cache_dir: Path = Field(
        default_factory=lambda: Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retrace",
        description="downloads of `retrace up`, shared by all data folders",
    )
    topic_prefix: str = Field("", description="put before every topic and consumer group", pattern=r"^[a-zA-Z0-9._-]*$")
    tenant: str = Field("default", description="tenant of requests that name none")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    artifacts: str | None = Field(None, description="fsspec URL of the artifact store; default <data_dir>/artifacts")

    archive: str | None = Field(None, description="fsspec URL of the archive of the log; default <data_dir>/archive")

    kafka: KafkaSettings = KafkaSettings()
    postgres: PostgresSettings = PostgresSettings()
    elastic: ElasticSettings = ElasticSettings()
    triton: TritonSettings = TritonSettings()
    registry: RegistrySettings = RegistrySettings()
    commands: HttpSettings = HttpSettings()
    queries: HttpSettings = HttpSettings()
    serving: HttpSettings = HttpSettings()
    health: HttpSettings = Field(HttpSettings(), description="where a service without an API of its own says how it is")
    stack: StackSettings = StackSettings()
    recommend: RecommendSettings = RecommendSettings()
    deployer: DeployerSettings = DeployerSettings()
    trainer: TrainerSettings = TrainerSettings()
    openlineage: OpenLineageSettings = OpenLineageSettings()
    admission: AdmissionSettings = AdmissionSettings()
    processor: ProcessorSettings = ProcessorSettings()
    access: AccessSettings = AccessSettings()
    search: SearchSettings = SearchSettings()
    personal: PersonalSettings = PersonalSettings()
    notary: NotarySettings = NotarySettings()

    test_stack: Path | None = Field(
        None, description="data folder of a running stack that the tests use; default one of their own"
    )

    answer_timeout_s: float = Field(
        10, description="how long the command API waits for a decision before it answers with a status address", gt=0
    )
    max_body_bytes: int = Field(1_048_576, description="largest body of a single command", gt=0)
    max_bulk_bytes: int = Field(1_073_741_824, description="largest body of a bulk upload", gt=0)

    @property
    def artifact_url(self) -> str:
        """Where artifacts are stored, as an fsspec URL."""
        return self.artifacts or (self.data_dir / "artifacts").absolute().as_uri()

    @property
    def archive_url(self) -> str:
        """Where closed ranges of the log are archived, as an fsspec URL."""
        return self.archive or (self.data_dir / "archive").absolute().as_uri()

    @property
    def model_repository(self) -> Path:
        """The folder that Triton loads models from."""
        return (self.triton.model_repository or self.data_dir / "triton" / "models").absolute()

    @property
    def snapshots(self) -> Path:
        """The folder that processors keep their snapshots in."""
        return (self.processor.snapshots or self.data_dir / "processor").absolute()

    @property
    def key_folder(self) -> Path:
        """The folder that people's keys are kept in."""
        return (self.personal.keys or self.data_dir / "personal").absolute()

    @property
    def notary_key(self) -> Path:
        """The file of the private key that signs checkpoints."""
        return (self.notary.key_file or self.data_dir / NOTARY_KEY_FILE).absolute()

    @property
    def notary_public_keys(self) -> Path:
        """The folder of the public keys that ever signed checkpoints."""
        return (self.notary.public_keys or self.data_dir / "notary").absolute()

    @property
    def ticket_folder(self) -> Path:
        """The folder in which each server keeps count of its answers; another one for each log."""
        return (self.recommend.tickets or self.data_dir / "tickets").absolute() / f"log-{self.topic_prefix}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over environment over the endpoints that `retrace up` wrote."""
        return init_settings, env_settings, Endpoints(settings_cls, init_settings)


class Endpoints(PydanticBaseSettingsSource):
    """The addresses of the running local stack, nested as `Settings` is."""

    def __init__(self, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        given = init_settings().get("data_dir")
        self._folder = Path(given or os.environ.get("RETRACE_DATA_DIR", ".retrace"))

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Part of the base class's interface; values are served whole by `__call__`."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """What the files say; nothing when the stack has not been started."""
        endpoints, key = self._folder / ENDPOINTS_FILE, self._folder / ADMIN_KEY_FILE
        values: dict[str, Any] = json.loads(endpoints.read_text()) if endpoints.is_file() else {}
        if os.access(key, os.R_OK):  # another user of this machine may know the addresses, and not the key
            values.setdefault("access", {})["key"] = key.read_text().strip()
        master = self._folder / MASTER_KEY_FILE
        if os.access(master, os.R_OK):
            values.setdefault("personal", {})["master_key"] = master.read_text().strip()
        return values


def child_environment(settings: Settings | None = None) -> dict[str, str]:
    """The environment of this process for a child process, with every value that `settings` was given.

    A child that builds its own `Settings` from it gets the same addresses, prefixes and folders.
    """
    environment = dict(os.environ)
    if settings is not None:
        environment |= _flat(settings.model_dump(exclude_unset=True), "RETRACE_")
        environment["RETRACE_DATA_DIR"] = str(settings.data_dir.absolute())
    return environment


def _flat(values: dict[str, Any], prefix: str) -> dict[str, str]:
    """Nested values as variables, the way pydantic-settings reads them."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        key = prefix + name.upper()
        if isinstance(value, dict):
            flat |= _flat(value, key + "__")
        elif value is not None:
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            flat[key] = json.dumps(plain) if isinstance(plain, list) else str(plain)
    return flat
