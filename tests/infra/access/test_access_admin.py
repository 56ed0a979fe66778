"""The installation's own key."""

import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.access.admin import admin_endpoints
from infra.access.client import headers_of
from infra.access.key import new_key, parse
from infra.settings import ADMIN_KEY_FILE, AccessSettings, Settings
from schemas.errors import Unknown


def test_a_key_is_made_when_there_is_none(tmp_path: Path) -> None:
    """No installation has a key that others know, and only its owner reads it."""
    noted = admin_endpoints(AccessSettings(), tmp_path)
    file = tmp_path / ADMIN_KEY_FILE
    key = parse(file.read_text().strip())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert noted == {"access": {"admin_hash": key.sha256}}
    assert key.text not in str(noted)


def test_it_is_made_once(tmp_path: Path) -> None:
    """`retrace up` again must not lock out who has the key."""
    noted = admin_endpoints(AccessSettings(), tmp_path)
    before = (tmp_path / ADMIN_KEY_FILE).read_text()
    assert admin_endpoints(AccessSettings(**noted["access"]), tmp_path) == {}
    assert (tmp_path / ADMIN_KEY_FILE).read_text() == before
    assert Settings(data_dir=tmp_path).access.key is not None


def test_a_key_that_was_given_is_the_installations_own(tmp_path: Path) -> None:
    """Whoever keeps secrets elsewhere need not have one in a file."""
    key = new_key()
    noted = admin_endpoints(AccessSettings(key=SecretStr(key.text)), tmp_path)
    assert noted["access"]["admin_hash"] == key.sha256
    assert not (tmp_path / ADMIN_KEY_FILE).exists()


def test_a_given_key_that_is_none_is_refused(tmp_path: Path) -> None:
    """A password such as `admin` is no key."""
    with pytest.raises(Unknown):
        admin_endpoints(AccessSettings(key=SecretStr("admin")), tmp_path)


def test_clients_find_the_key_by_themselves(tmp_path: Path) -> None:
    """The `retrace` commands work after `retrace up`, and settings do not show the key."""
    assert headers_of(Settings(data_dir=tmp_path)) == {}
    admin_endpoints(AccessSettings(), tmp_path)
    settings = Settings(data_dir=tmp_path)
    text = (tmp_path / ADMIN_KEY_FILE).read_text().strip()
    assert headers_of(settings, actor="ana") == {"Authorization": f"Bearer {text}", "X-Actor": "ana"}
    assert text not in f"{settings!r} {settings}"
