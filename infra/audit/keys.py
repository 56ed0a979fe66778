"""The notary's keys: one that signs, and the public halves of all that ever did."""

import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from infra.settings import Settings
from schemas.errors import Invalid, Rejected, Unavailable

ID_DIGITS = 16

PublicKeys = Mapping[str, Ed25519PublicKey]
"""Public keys by key id."""


class Signer:
    """A key that signs."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key()
        self.key_id = key_id(self.public)

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature; the same message gives the same one."""
        return self._key.sign(message)


def key_id(key: Ed25519PublicKey) -> str:
    """The name of a key: the beginning of its hash."""
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:ID_DIGITS]


def prepare(settings: Settings) -> None:
    """Make the signing key, for the owner's eyes alone, unless there is one.

    Raises:
        Unavailable: there was one, and it is missing.
    """
    path, folder = settings.notary_key, settings.notary_public_keys
    if path.exists():
        return
    if folder.is_dir() and any(folder.glob("*.pem")):
        raise Unavailable(
            f"the key that signed the log's checkpoints is missing: put it back as {path}, or go on under a new one "
            "with `retrace audit rotate-key`",
            code="signing_key_missing",
        )
    _make(path, folder)


def rotate(settings: Settings) -> Signer:
    """Sign under a new key from now on; the public halves of those before are kept, so that old checkpoints verify.

    A notary that runs takes it with its next checkpoint. The private half of the old one is gone afterwards.
    """
    return _make(settings.notary_key, settings.notary_public_keys)


def open_signer(settings: Settings) -> Signer:
    """The key that signs.

    Raises:
        Unavailable: it is not there, or is none.
    """
    path = settings.notary_key
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as fault:
        raise Unavailable(
            f"the notary's signing key {path} cannot be read ({fault.strerror}): `retrace up` makes it, or set "
            "RETRACE_NOTARY__KEY_FILE",
            code="signing_key_missing",
        ) from fault
    except (ValueError, TypeError) as fault:
        raise Unavailable(f"{path} is no private key in PEM: put the notary's back", code="bad_signing_key") from fault
    if not isinstance(key, Ed25519PrivateKey):
        raise Unavailable(f"{path} is no Ed25519 key: put the notary's back", code="bad_signing_key")
    return Signer(key)


def public_keys(settings: Settings) -> PublicKeys:
    """Every key that this installation has signed under."""
    return read_public_keys(sorted(settings.notary_public_keys.glob("*.pem")))


def read_public_keys(paths: Iterable[Path]) -> PublicKeys:
    """Public keys from PEM files.

    Raises:
        Invalid: one cannot be read, or is no Ed25519 key.
    """
    keys: dict[str, Ed25519PublicKey] = {}
    for path in paths:
        try:
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError) as fault:
            raise Invalid(f"{path} is no public key in PEM: {fault}", code="bad_public_key") from fault
        if not isinstance(key, Ed25519PublicKey):
            raise Invalid(f"{path} is no Ed25519 key: take the one that the notary signs under", code="bad_public_key")
        keys[key_id(key)] = key
    return MappingProxyType(keys)


def keep_public(settings: Settings, signer: Signer) -> None:
    """See to it that whatever this key signs can be verified.

    Raises:
        Rejected: its public half cannot be kept.
    """
    path = settings.notary_public_keys / f"{signer.key_id}.pem"
    if not path.exists():
        _write(path, pem(signer.public), 0o644)


def pem(key: Ed25519PublicKey) -> bytes:
    """A public key as others keep it."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _make(path: Path, folder: Path) -> Signer:
    """A new key: its public half is there first, so that whatever it signs can be verified after every crash."""
    key = Ed25519PrivateKey.generate()
    signer = Signer(key)
    _write(folder / f"{signer.key_id}.pem", pem(signer.public), 0o644)
    _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    return signer


def _write(path: Path, data: bytes, mode: int) -> None:
    """Put a file there whole; whoever reads meanwhile sees the one before."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as fault:
        raise Rejected(f"{path} cannot be written: {fault.strerror}", code="key_not_written") from fault
