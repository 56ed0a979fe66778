"""The installation's own key, which opens before there are others."""

import os
from pathlib import Path
from typing import Any

from infra.access.key import new_key, parse
from infra.settings import ADMIN_KEY_FILE, AccessSettings


def admin_endpoints(access: AccessSettings, data_dir: Path) -> dict[str, Any]:
    """What `endpoints.json` has to say of the key; when there is none yet, one is made for the owner's eyes alone.

    A key that was given in the settings is taken for the installation's own.

    Raises:
        Unknown: the key that was given is none.
    """
    if access.admin_hash is not None:
        return {}
    if access.key is not None:
        key = parse(access.key.get_secret_value())
    else:
        key = new_key()
        _write(data_dir / ADMIN_KEY_FILE, key.text)
    return {"access": {"admin_hash": key.sha256}}


def _write(path: Path, text: str) -> None:
    """Make a file that only its owner reads, from its first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
