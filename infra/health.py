"""What a service knows about its own health, with the cause of every trouble."""

from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True)
class Component:
    """One thing that a service needs or does.

    Attributes:
        ok: whether it works.
        cause: why not, or what it is doing; for people.
        since: when it last changed between working and not.
        vital: whether the service is not ready without it; else it answers with less.
    """

    ok: bool
    cause: str
    since: datetime
    vital: bool = True


@dataclass
class Health:
    """The components of one service. A service is ready when it has components and all the vital ones work."""

    service: str
    components: dict[str, Component] = field(default_factory=dict)

    def ok(self, name: str, note: str = "") -> None:
        """Say that a component works."""
        self._set(name, True, note)

    def failed(self, name: str, cause: str, *, vital: bool = True) -> None:
        """Say that a component does not work, and why."""
        self._set(name, False, cause, vital)

    @property
    def ready(self) -> bool:
        """Whether the service can do its work."""
        return bool(self.components) and all(c.ok or not c.vital for c in self.components.values())

    def report(self) -> dict[str, object]:
        """As JSON, for `GET /health/ready`."""
        return {
            "service": self.service,
            "ready": self.ready,
            "components": {
                name: {"ok": c.ok, "cause": c.cause, "since": c.since.isoformat()}
                for name, c in self.components.items()
            },
        }

    def _set(self, name: str, ok: bool, cause: str, vital: bool = True) -> None:
        before = self.components.get(name)
        since = before.since if before is not None and before.ok == ok else datetime.now(UTC)
        self.components[name] = Component(ok, cause, since, vital)
