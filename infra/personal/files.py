"""The keys of people as files, one for each, wrapped under the installation's master key.

Files and no database, because a key has to be destroyed: a row that is deleted lives on in dead tuples, in the
write-ahead log and in every backup. A file is overwritten where it stands, and the folder is left out of backups, or
its backups are kept no longer than an erasure may take (docs/explanation/personal-data.md says what that is worth).

A grave comes before the destruction, and whoever makes a key looks for one afterwards: so at no time and after no crash
does somebody who was erased have a key that anything is encrypted under.
"""

import hmac
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.personal.seal import KEY_BYTES, NONCE_BYTES, Person, PersonKey
from schemas.errors import Gone, Unavailable

MAGIC = b"RPK1"
ID_BYTES = 8
SIZE_BYTES = len(MAGIC) + ID_BYTES + NONCE_BYTES + KEY_BYTES + 16

KEYS, GRAVES, PROOF = "keys", "erased", "master"


class KeyFiles:
    """The folder of keys, for one process; others may work in it at the same time, also over a network file system.

    Args:
        folder: has to be there; one that is missing is taken for one that is not mounted.
        master: `KEY_BYTES` bytes.
        realm: keeps installations apart that share a folder.
    """

    def __init__(self, folder: Path, master: bytes, realm: str) -> None:
        self._folder = folder
        self._wrap = AESGCM(hmac.digest(master, b"retrace wrap", sha256))
        self._naming = hmac.digest(master, b"retrace name", sha256)
        self._proof = hmac.digest(master, b"retrace proof", sha256)
        self._realm = realm
        self._proven = False

    def get(self, person: Person) -> PersonKey | None:
        """The key; None when there is none, or none any more.

        Raises:
            Unavailable: the folder is away, or the master key is another one.
        """
        with self._there():
            return self._read(self._path(KEYS, person), person)

    def make(self, person: Person) -> PersonKey:
        """The key; a new one, durable when this returns, when there was none.

        Raises:
            Gone: the person has been erased.
            Unavailable: the folder is away or full, or the master key is another one.
        """
        with self._there():
            path = self._path(KEYS, person)
            found = self._read(path, person)
            if found is None:
                self._refuse_erased(person)
                self._create(path)
                found = self._read(path, person)
                if self.is_erased(person) or found is None:  # erased in this very moment
                    self.destroy(person)
                    self._refuse_erased(person)
            assert found is not None
            return found

    def destroy(self, person: Person) -> int:
        """Forget a person for good; how many keys there were the first time.

        Doing it again, also after a crash, does no harm.

        Raises:
            Unavailable: the folder is away.
        """
        with self._there():
            path = self._path(KEYS, person)
            buried = self._bury(person, keys=int(path.exists()))
            _overwrite(path)
            return buried

    def is_erased(self, person: Person) -> bool:
        """Whether `destroy` was ever begun for this person.

        Raises:
            Unavailable: the folder is away.
        """
        with self._there():
            return self._path(GRAVES, person).exists()

    def erased(self) -> set[Person]:
        """Everybody who was erased.

        Raises:
            Unavailable: the folder is away.
        """
        with self._there():
            graves = [path.read_bytes() for path in (self._folder / GRAVES).glob(f"*/*.{self._mark}")]
            return {Person(tenant, user_id) for tenant, user_id, _ in map(orjson.loads, graves)}

    @property
    def _mark(self) -> str:
        return hmac.digest(self._naming, self._realm.encode(), sha256).hex()[:16]

    def _path(self, kind: str, person: Person) -> Path:
        """Where something of a person is; the name tells nobody who it is."""
        name = hmac.digest(self._naming, orjson.dumps([self._realm, *person]), sha256).hex()
        return self._folder / kind / name[:2] / f"{name}.{self._mark}"

    def _read(self, path: Path, person: Person) -> PersonKey | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return self._unwrapped(data, path.name)
        except (InvalidTag, ValueError) as fault:
            if self.is_erased(person):
                return None  # overwritten; whoever did that has not come to removing it
            raise Unavailable(
                "the key of a person does not open with this master key: give the one that it was made under",
                code="key_unreadable",
            ) from fault

    def _unwrapped(self, data: bytes, name: str) -> PersonKey:
        if len(data) != SIZE_BYTES or not data.startswith(MAGIC):
            raise ValueError("not a key")
        head, nonce, wrapped = data[: len(MAGIC) + ID_BYTES], data[12 : 12 + NONCE_BYTES], data[12 + NONCE_BYTES :]
        secret = self._wrap.decrypt(nonce, wrapped, head + name.encode())
        return PersonKey(head[len(MAGIC) :].hex(), secret)

    def _create(self, path: Path) -> None:
        """Put a new key there, whole or not at all, unless somebody else has."""
        head, nonce = MAGIC + os.urandom(ID_BYTES), os.urandom(NONCE_BYTES)
        wrapped = self._wrap.encrypt(nonce, os.urandom(KEY_BYTES), head + path.name.encode())
        _place(path, head + nonce + wrapped)

    def _bury(self, person: Person, keys: int) -> int:
        """Put a grave there; how many keys it says there were, which is what the first one said."""
        path = self._path(GRAVES, person)
        _place(path, orjson.dumps([*person, keys]))
        return int(orjson.loads(path.read_bytes())[2])

    def _prove(self) -> None:
        """Find out whether the master key is that of this folder, which the first one to work in it says."""
        if self._proven:
            return
        path = self._folder / PROOF
        if not path.exists():
            _place(path, self._proof)
        if not hmac.compare_digest(path.read_bytes(), self._proof):
            raise Unavailable(
                "the keys of people were wrapped under another master key than this one: give that one",
                code="another_master_key",
            )
        self._proven = True

    def _refuse_erased(self, person: Person) -> None:
        if self.is_erased(person):
            raise erased(person.user_id)

    @contextmanager
    def _there(self) -> Iterator[None]:
        """Translate what the file system says."""
        try:
            if not self._folder.is_dir():
                raise NotADirectoryError("there is no such folder")
            self._prove()
            yield
        except OSError as fault:
            raise Unavailable(
                f"the folder of personal keys cannot be used ({fault.strerror or fault}): mount it, or let "
                "`retrace up` make it",
                code="keys_away",
            ) from fault


def erased(user_id: str) -> Gone:
    """What everybody says of somebody who was erased."""
    return Gone(
        f"user '{user_id}' has been erased for good: a person who comes back takes another id", code="erased_user"
    )


def _overwrite(path: Path) -> None:
    """Destroy a key where it stands, then remove it."""
    with suppress(FileNotFoundError):
        with os.fdopen(os.open(path, os.O_WRONLY), "wb", buffering=0) as file:
            file.write(os.urandom(SIZE_BYTES))
            os.fsync(file.fileno())
        path.unlink()
        _sync(path.parent)


def _place(path: Path, data: bytes) -> None:
    """Write a file beside its place and link it there: the first one wins, and nobody sees half of it."""
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync(path.parent.parent)
        _sync(path.parent.parent.parent)
    aside = path.with_name(f".{uuid4().hex}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as file:
            file.write(data)
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make names durable."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
