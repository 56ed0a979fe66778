"""Who is asking."""

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Literal

from schemas.errors import Forbidden
from schemas.roles import ADMIN


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who has shown who they are.

    Attributes:
        actor: what stands in every event that they cause.
        tenant: whose data they may see and change.
        roles: what they may do.
        how: by the installation's own key, by an API key, or by a JSON Web Token.
        key_id: of the API key.
    """

    actor: str
    tenant: str
    roles: frozenset[str]
    how: Literal["installation", "key", "token"]
    key_id: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether they may do everything within their tenant."""
        return ADMIN in self.roles

    def need(self, roles: Set[str]) -> None:
        """Let them do what these roles may.

        Raises:
            Forbidden: they have none of them; the message names those that would do.
        """
        if self.roles.isdisjoint(roles) and not self.is_admin:
            mine = ", ".join(sorted(self.roles)) or "none"
            raise Forbidden(
                f"this takes the role {_either(roles)}, and {self.actor} has {mine}: "
                "ask an admin for a key that has it",
                code="role_missing",
                extra={"roles_needed": sorted(roles), "roles": sorted(self.roles)},
            )

    def on_behalf(self, actor: str | None, tenant: str | None) -> "Identity":
        """The same, speaking for somebody else.

        Raises:
            Forbidden: only an admin speaks for others, and only the installation's key for other tenants.
        """
        if actor not in (None, self.actor) and not self.is_admin:
            raise Forbidden("only an admin speaks on behalf of others: leave X-Actor out", code="not_on_behalf")
        if tenant not in (None, self.tenant) and self.how != "installation":
            raise Forbidden(
                f"your key is of tenant '{self.tenant}', and only the installation's own key speaks for others: "
                "leave X-Tenant out",
                code="foreign_tenant",
            )
        return replace(self, actor=actor or self.actor, tenant=tenant or self.tenant)


def _either(roles: Set[str]) -> str:
    *others, last = sorted(roles) or [ADMIN]
    return f"{', '.join(others)} or {last}" if others else last
