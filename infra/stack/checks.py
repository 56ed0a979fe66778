"""One question to each kind of server: do you work? Each check is short, and raises `Unavailable` with the answer."""

import http.client
import json
from urllib.parse import urlsplit

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.kafka.connect import librdkafka_options
from infra.settings import ElasticSettings, KafkaSettings, PostgresSettings, RegistrySettings
from schemas.errors import Unavailable

TIMEOUT_S = 3.0


def kafka(settings: KafkaSettings) -> None:
    """The brokers answer a metadata request, and one of them leads."""
    config = librdkafka_options(settings) | {"log_level": 0, "socket.timeout.ms": int(TIMEOUT_S * 1000)}
    try:
        metadata = AdminClient(config).list_topics(timeout=TIMEOUT_S)
    except KafkaException as error:
        raise Unavailable(f"Kafka at {settings.bootstrap} does not answer: {error.args[0].str()}.") from error
    if not metadata.brokers:
        raise Unavailable(f"Kafka at {settings.bootstrap} has no broker that is ready.")


def postgres(settings: PostgresSettings) -> None:
    """The database answers `SELECT 1`."""
    try:
        with psycopg.connect(settings.dsn.get_secret_value(), connect_timeout=int(TIMEOUT_S)) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        raise Unavailable(f"PostgreSQL does not answer: {str(error).strip()}.") from error


def elastic(settings: ElasticSettings) -> None:
    """The cluster has a master and every primary shard is there."""
    key = settings.api_key
    headers = {"Authorization": f"ApiKey {key.get_secret_value()}"} if key else {}
    health = json.loads(http_get(f"{settings.url}/_cluster/health", headers))
    if health["status"] == "red":
        raise Unavailable(f"Elasticsearch at {settings.url} is red: {health['unassigned_shards']} shards are missing.")


def triton(addresses: list[str]) -> None:
    """Every server says it is ready."""
    from tritonclient.grpc import InferenceServerClient  # slow to import, and every service comes past here
    from tritonclient.utils import InferenceServerException

    for address in addresses:
        try:
            with InferenceServerClient(address) as client:
                ready = client.is_server_ready(client_timeout=TIMEOUT_S)
        except InferenceServerException as error:
            raise Unavailable(f"Triton at {address} does not answer: {error.message()}.") from error
        if not ready:
            raise Unavailable(f"Triton at {address} is not ready yet.")


def registry(settings: RegistrySettings) -> None:
    """The registry lists its subjects."""
    http_get(f"{settings.url}/subjects")


def http_get(url: str, headers: dict[str, str] | None = None) -> bytes:
    """The body of a successful answer.

    Raises:
        Unavailable: nobody answers there, or the answer is no success; then the message carries its body.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/", headers=headers or {})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{url} does not answer: {error}.") from error
    finally:
        connection.close()
    if answer.status >= 300:
        raise Unavailable(f"{url} answers {answer.status}: {body[:300].decode(errors='replace')}")
    return body
