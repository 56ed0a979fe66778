"""What a route's OpenAPI description says of who may use it; `infra.access.route` enforces what stands here."""

from typing import Any

from schemas.roles import ROLES

ROLES_MEMBER = "x-roles"
SCHEME = "key"
SECURITY = {"type": "http", "scheme": "bearer", "description": "An API key, or a JSON Web Token of the issuer."}


def open_to(*roles: str) -> dict[str, Any]:
    """For `openapi_extra`: who may use a route, beside an admin."""
    return {ROLES_MEMBER: sorted(roles), "security": [{SCHEME: []}]}


def open_to_known() -> dict[str, Any]:
    """For `openapi_extra`: whoever has a role."""
    return open_to(*ROLES)


def open_to_all() -> dict[str, Any]:
    """For `openapi_extra`: everybody, without a key."""
    return {ROLES_MEMBER: [], "security": []}
