"""Which port each server has: fixed by a setting, else the one it had last time, else any that is free."""

import json
import random
import socket
from pathlib import Path
from typing import Any

from schemas.errors import Unavailable

HOST = "127.0.0.1"
RANGE = range(20_000, 32_000)
"""Below the ports that systems hand out to clients, so that no outgoing connection sits on a remembered port."""


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def accepts(port: int) -> bool:
    """Whether somebody listens there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


class Ports:
    """The ports of one data folder, remembered in `ports.json`."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "ports.json"

    def of(self, name: str) -> int:
        """The port of the last start; 0 when there was none."""
        return int(self._read().get(name, {}).get("port", 0))

    def is_ours(self, name: str, port: int) -> bool:
        """Whether we chose this port ourselves at the last start, so that another would do."""
        return self._read().get(name) == {"port": port, "fixed": False}

    def choose(self, name: str, fixed: int = 0, setting: str = "") -> int:
        """A port to listen on, and remember it.

        Args:
            name: of the server, or `server.purpose`.
            fixed: the port that the user asked for; 0 for any.
            setting: the variable that fixes it, for the message.

        Raises:
            Unavailable: the port that was asked for is taken.
        """
        if fixed and not is_free(fixed):
            raise Unavailable(
                f"Port {fixed} for {name} is taken by another program; end that program or choose another port with "
                f"{setting}.",
                code="port_taken",
            )
        last = self.of(name)
        port = fixed or (last if last and is_free(last) else self._any())
        self._write(self._read() | {name: {"port": port, "fixed": bool(fixed)}})
        return port

    def _any(self) -> int:
        """A free port that none of our own servers counts on."""
        known = {entry["port"] for entry in self._read().values()}
        while (port := random.choice(RANGE)) in known or not is_free(port):
            pass
        return port

    def _read(self) -> dict[str, Any]:
        if not self._file.is_file():
            return {}
        ports: dict[str, Any] = json.loads(self._file.read_text())
        return ports

    def _write(self, ports: dict[str, Any]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(ports, indent=2))
