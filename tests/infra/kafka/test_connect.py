from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer
from pydantic import SecretStr

from infra.kafka.connect import aiokafka_options, librdkafka_options
from infra.settings import KafkaSettings

PLAIN = KafkaSettings(bootstrap="a:1, b:2")
SECURE = KafkaSettings(
    bootstrap="a:1",
    security_protocol="SASL_SSL",
    sasl_mechanism="SCRAM-SHA-512",
    sasl_username="ana",
    sasl_password=SecretStr("pearl"),
)


def test_every_broker_of_the_list_is_named() -> None:
    """A client that knows one broker of three does not start while that one is down."""
    assert aiokafka_options(PLAIN)["bootstrap_servers"] == ["a:1", "b:2"]


async def test_aiokafka_takes_the_secure_options() -> None:
    """A managed cluster is reached with settings alone."""
    producer = AIOKafkaProducer(**aiokafka_options(SECURE))
    await producer.stop()
    assert producer.client._sasl_plain_username == "ana"
    assert producer.client._sasl_plain_password == "pearl"
    assert producer.client._ssl_context is not None


def test_librdkafka_takes_the_secure_options() -> None:
    """Unknown or contradicting keys make librdkafka refuse to build a client."""
    Producer({**librdkafka_options(SECURE), "log_level": 0})
    assert librdkafka_options(SECURE)["sasl.password"] == "pearl"


def test_nothing_about_signing_in_is_sent_to_an_open_broker() -> None:
    """A plain connection with SASL options makes librdkafka complain."""
    assert not [key for key in librdkafka_options(PLAIN) if key.startswith(("sasl", "ssl"))]
