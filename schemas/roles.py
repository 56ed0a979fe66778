"""Who does what: the roles that an identity may have.

`product` sends what users do and asks for recommendations; `engineer` trains and deploys; `approver` lets a version
serve; `auditor` reads what was decided; `admin` makes keys, and may do everything else within its tenant.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

Role: TypeAlias = Literal["product", "engineer", "approver", "auditor", "admin"]

ADMIN: Role = "admin"
ROLES: tuple[Role, ...] = get_args(Role)


def known(names: Iterable[str]) -> frozenset[str]:
    """Those of the names that are roles."""
    return frozenset(names) & frozenset(ROLES)
