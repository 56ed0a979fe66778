"""How to reach the brokers, in the words of each of our two client libraries."""

import ssl
from typing import Any

from infra.settings import KafkaSettings


def aiokafka_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments that every aiokafka producer, consumer or admin client takes."""
    options: dict[str, Any] = {
        "bootstrap_servers": [host.strip() for host in kafka.bootstrap.split(",")],
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol in ("SSL", "SASL_SSL"):
        options["ssl_context"] = ssl.create_default_context(cafile=kafka.ca_file)
    if kafka.sasl_mechanism:
        options["sasl_mechanism"] = kafka.sasl_mechanism
        options["sasl_plain_username"] = kafka.sasl_username
        options["sasl_plain_password"] = _password(kafka)
    return options


def librdkafka_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Configuration that every confluent-kafka producer, consumer or admin client takes."""
    options: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap,
        "security.protocol": kafka.security_protocol,
    }
    if kafka.ca_file:
        options["ssl.ca.location"] = str(kafka.ca_file)
    if kafka.sasl_mechanism:
        options["sasl.mechanism"] = kafka.sasl_mechanism
        options["sasl.username"] = kafka.sasl_username
        options["sasl.password"] = _password(kafka)
    return options


def _password(kafka: KafkaSettings) -> str | None:
    return kafka.sasl_password.get_secret_value() if kafka.sasl_password else None
