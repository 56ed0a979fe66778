"""Who may do what, and for whom they may speak."""

import pytest

from infra.access.identity import Identity
from schemas.errors import Forbidden
from schemas.roles import ROLES

SHOP = Identity("shop", "default", frozenset({"product"}), "key", "k")
ADMIN = Identity("root", "default", frozenset({"admin"}), "key", "k2")
INSTALLATION = Identity("admin", "default", frozenset({"admin"}), "installation")


def test_a_refusal_names_the_roles_that_would_do_and_those_at_hand() -> None:
    """Whoever reads it knows what to ask an admin for."""
    with pytest.raises(Forbidden) as fault:
        SHOP.need(frozenset({"engineer", "approver"}))
    assert "approver or engineer" in fault.value.detail
    assert fault.value.extra == {"roles_needed": ["approver", "engineer"], "roles": ["product"]}


@pytest.mark.parametrize("role", ROLES)
def test_an_admin_may_do_everything(role: str) -> None:
    """Within the tenant."""
    ADMIN.need(frozenset({role}))


def test_only_an_admin_speaks_for_others() -> None:
    """The actor stands in every event: it must not be chosen by who sends it."""
    assert ADMIN.on_behalf("ana", None).actor == "ana"
    assert SHOP.on_behalf("shop", "default") == SHOP
    with pytest.raises(Forbidden):
        SHOP.on_behalf("ana", None)


def test_only_the_installation_speaks_for_other_tenants() -> None:
    """An admin is one of a tenant."""
    assert INSTALLATION.on_behalf(None, "b").tenant == "b"
    with pytest.raises(Forbidden) as fault:
        ADMIN.on_behalf(None, "b")
    assert fault.value.code == "foreign_tenant"
