"""The installation's master key, under which the keys of people are wrapped."""

import base64
import binascii
import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from infra.personal.seal import KEY_BYTES
from infra.settings import MASTER_KEY_FILE, Settings
from schemas.errors import Unavailable


def prepare(settings: Settings) -> None:
    """Make the folder of keys and, unless one was given, the master key, both for the owner's eyes alone.

    A folder that holds keys already needs the key that they were wrapped under, so none is made for it.

    Raises:
        Unavailable: there are keys, and the master key is missing.
    """
    settings.key_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = settings.data_dir.absolute() / MASTER_KEY_FILE
    if settings.personal.master_key is not None or path.exists():
        return
    if any(settings.key_folder.iterdir()):
        raise Unavailable(
            f"{settings.key_folder} holds keys of people, and their master key is missing: put it back as {path}, or "
            "set RETRACE_PERSONAL__MASTER_KEY",
            code="master_key_missing",
        )
    _write(path, new_master())


def new_master() -> str:
    """A master key as text."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def master_of(text: SecretStr) -> bytes:
    """The bytes of a master key.

    Raises:
        Unavailable: it is none.
    """
    try:
        key = base64.urlsafe_b64decode(text.get_secret_value())
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise Unavailable(
            f"the master key for personal data is none: it has {KEY_BYTES} bytes in base64, as "
            '`python -c "import base64, secrets; print(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())"` '
            "makes one",
            code="bad_master_key",
        )
    return key


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
