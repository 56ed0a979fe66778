"""The compose file, as text: it runs what `retrace up` runs, by the same settings."""

import re
from pathlib import Path

from pydantic import BaseModel

from infra.settings import Settings
from infra.stack import elastic, kafka
from infra.stack.service import ROLES

COMPOSE = (Path(__file__).parents[3] / "docker-compose.kafka.yml").read_text()


def variables(model: type[BaseModel], prefix: str = "RETRACE_") -> set[str]:
    """The variable of every field, nested ones too."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        key = prefix + name.upper()
        kind = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        found |= variables(kind, key + "__") if nested and isinstance(kind, type) else {key}
    return found


def test_every_variable_is_a_setting() -> None:
    """An unknown variable is ignored in silence, and the service talks to nobody."""
    used = set(re.findall(r"RETRACE_\w+", COMPOSE)) - {"RETRACE_"}
    assert used
    assert used <= variables(Settings)


def test_every_role_is_served() -> None:
    """A role that is left out here is missing in production."""
    served = set(re.findall(r'"console", "serve", "(\w+)"', COMPOSE))
    assert served == {role.name for role in ROLES}


def test_versions_are_those_of_the_embedded_servers() -> None:
    """Both ways run the same stack."""
    assert f"image: apache/kafka:{kafka.VERSION}\n" in COMPOSE
    assert f"image: elasticsearch:{elastic.VERSION}\n" in COMPOSE


def test_nothing_is_published_beyond_loopback() -> None:
    """The servers have no sign-in of their own."""
    published = re.findall(r"^\s+- (\S+):\d+$", COMPOSE, re.MULTILINE)
    assert len(published) == 8
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_no_password_has_a_default() -> None:
    """A default password is everybody's password."""
    assert set(re.findall(r"\$\{POSTGRES_PASSWORD(..)", COMPOSE)) == {":?"}
