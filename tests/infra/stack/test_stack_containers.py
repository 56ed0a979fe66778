"""The container engine, as far as it can be checked without Docker: what would be run."""

from pathlib import Path

import pytest

from infra.settings import Settings
from infra.stack import elastic, kafka
from infra.stack.containers import RECIPES, Recipe
from infra.stack.stack import SERVERS


@pytest.fixture
def recipes(tmp_path: Path) -> dict[str, Recipe]:
    settings = Settings(data_dir=tmp_path)
    return {name: make(settings, "127.0.0.1:5000") for name, make in RECIPES.items()}


def test_every_server_has_a_container(recipes: dict[str, Recipe]) -> None:
    """Both engines run the same stack; the registry is ours and runs as a process."""
    assert set(recipes) == set(SERVERS) - {"registry"}


def test_versions_are_those_of_the_embedded_servers(recipes: dict[str, Recipe]) -> None:
    """What is tested on one engine holds on the other."""
    assert recipes["kafka"].image == f"apache/kafka:{kafka.VERSION}"
    assert recipes["elastic"].image == f"elasticsearch:{elastic.VERSION}"


def test_endpoints_are_settings(recipes: dict[str, Recipe]) -> None:
    """Clients read them as they read those of the embedded servers."""
    settings = Settings(**{key: value for one in recipes.values() for key, value in one.endpoints.items()})
    assert settings.kafka.bootstrap == settings.triton.grpc[0] == "127.0.0.1:5000"
    assert settings.elastic.url == "http://127.0.0.1:5000"
    assert "@127.0.0.1:5000/" in settings.postgres.dsn.get_secret_value()


def test_kafka_tells_clients_the_port_of_the_host(recipes: dict[str, Recipe]) -> None:
    """A client that is sent to the container's own port would find nobody."""
    environment = recipes["kafka"].environment
    assert environment["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:5000"
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_the_password_is_made_up_once(tmp_path: Path) -> None:
    """The volume keeps the first one."""
    settings = Settings(data_dir=tmp_path)
    first, again = (RECIPES["postgres"](settings, "127.0.0.1:1").environment for _ in range(2))
    assert first["POSTGRES_PASSWORD"] == again["POSTGRES_PASSWORD"]
    assert len(first["POSTGRES_PASSWORD"]) >= 24
