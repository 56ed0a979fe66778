"""Retrace's own services, run as `python -m console serve ROLE`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from infra.settings import HttpSettings, Settings, child_environment
from infra.stack import checks
from infra.stack.ports import HOST
from infra.stack.process import Command
from infra.stack.server import Embedded, Say

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Role:
    """One service.

    Attributes:
        name: as in `python -m console serve NAME`.
        api: whether it serves an API on the port of the settings of its name; else it only says how it is, on a port
            that the stack chooses and tells it by RETRACE_HEALTH__PORT.
        health: the path that answers 200 when it works.
        after: the servers it starts after.
    """

    name: str
    api: bool = False
    health: str = "/health/ready"
    after: tuple[str, ...] = ("kafka", "postgres", "elastic", "triton", "registry")


ROLES = (
    Role("registry", api=True, health="/subjects", after=("kafka",)),
    Role("commands", api=True),
    Role("processor"),
    Role("scheduler"),
    Role("eraser"),
    Role("queries", api=True),
    Role("projector"),
    Role("serving", api=True),
    Role("trainer"),
    Role("deployer"),
    Role("embedder"),
    Role("counter"),
    Role("streams"),
    Role("notary"),
)


class Service(Embedded):
    """One of our own services as a process."""

    memory_mb = 80

    def __init__(self, settings: Settings, role: Role) -> None:
        self.role = role
        self.name = role.name
        self.after = role.after
        super().__init__(settings)

    @override
    def claim(self) -> None:
        fixed, variable = self._wanted()
        self.ports.choose(self.name, 0 if self.ports.is_ours(self.name, fixed) else fixed, variable)

    @override
    def prepare(self, say: Say) -> Command:
        variables = child_environment(self.settings)
        variables["PYTHONPATH"] = str(ROOT)
        variables["PYTHONPYCACHEPREFIX"] = str(self.settings.cache_dir.absolute() / "bytecode")
        variables.pop("PYTHONDONTWRITEBYTECODE", None)  # nine services compile the same modules: half of their start
        variables |= _address_variables(self.role, self.port)
        return Command([sys.executable, "-m", "console", "serve", self.name], variables)

    @property
    @override
    def address(self) -> str:
        return f"http://{HOST}:{self.port}" if self.port else ""

    @override
    def check(self) -> None:
        checks.http_get(self.address + self.role.health)

    @override
    def endpoints(self) -> dict[str, Any]:
        if self.name == "registry":
            return {"registry": {"url": self.address}}
        return {self.name: {"host": HOST, "port": self.port}} if self.role.api else {}

    def _wanted(self) -> tuple[int, str]:
        """The port that the user asked for (0: any), and the variable that says so."""
        if self.name == "registry":
            return self.fixed("registry_port")
        if not self.role.api:
            return 0, ""
        http: HttpSettings = getattr(self.settings, self.name)
        return http.port, f"RETRACE_{self.name.upper()}__PORT"


def _address_variables(role: Role, port: int) -> dict[str, str]:
    """How the service learns where to listen."""
    if role.name == "registry":
        return {"RETRACE_REGISTRY__URL": f"http://{HOST}:{port}"}
    prefix = f"RETRACE_{role.name.upper()}" if role.api else "RETRACE_HEALTH"
    return {f"{prefix}__HOST": HOST, f"{prefix}__PORT": str(port)}
