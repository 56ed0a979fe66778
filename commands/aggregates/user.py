"""A user: registered once, then preferences and consents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from commands.aggregate import Aggregate
from schemas.envelope import Meta
from schemas.errors import NotFound, Rejected
from schemas.profiles import (
    ChangePreferences,
    ConsentGiven,
    ConsentWithdrawn,
    GiveConsent,
    PreferencesChanged,
    ProfilesCommand,
    ProfilesEvent,
    RegisterUser,
    UserRegistered,
    WithdrawConsent,
)


@dataclass(frozen=True, slots=True)
class User:
    """What later rules depend on.

    Attributes:
        registered: whether the user is known.
        preferences: the last ones, as their event said them.
        consents: what the user said last, by purpose; silence is neither yes nor no.
    """

    registered: bool = False
    preferences: PreferencesChanged | None = None
    consents: Mapping[str, bool] = field(default_factory=dict)


def decide(state: User, command: ProfilesCommand, _meta: Meta) -> Sequence[ProfilesEvent]:
    """What a command leads to.

    Raises:
        Rejected: the user is registered already.
        NotFound: the user is not registered.
    """
    match command:
        case RegisterUser(user_id=user_id, name=name, attributes=attributes):
            if state.registered:
                raise Rejected(
                    f"user '{user_id}' is registered already: choose another id, or change the preferences instead",
                    code="already_registered",
                )
            return [UserRegistered(user_id=user_id, name=name, attributes=attributes)]
        case ChangePreferences(user_id=user_id):
            _known(state, user_id)
            changed = PreferencesChanged(
                user_id=user_id,
                favourite_categories=command.favourite_categories,
                hidden_categories=command.hidden_categories,
                language=command.language,
            )
            return [] if changed == state.preferences else [changed]
        case GiveConsent(user_id=user_id, purpose=purpose):
            _known(state, user_id)
            return [] if state.consents.get(purpose) is True else [ConsentGiven(user_id=user_id, purpose=purpose)]
        case WithdrawConsent(user_id=user_id, purpose=purpose):
            _known(state, user_id)
            return [] if state.consents.get(purpose) is False else [ConsentWithdrawn(user_id=user_id, purpose=purpose)]
        case _:
            assert_never(command)


def _known(state: User, user_id: str) -> None:
    if not state.registered:
        raise NotFound(f"no user '{user_id}': register the user first (POST /users)", code="unknown_user")


def evolve(state: User, event: ProfilesEvent) -> User:
    """The state after an event."""
    match event:
        case UserRegistered():
            return replace(state, registered=True)
        case PreferencesChanged():
            return User(state.registered, event, state.consents)  # frequent, and `replace` takes thrice as long
        case ConsentGiven(purpose=purpose):
            return replace(state, consents={**state.consents, purpose: True})
        case ConsentWithdrawn(purpose=purpose):
            return replace(state, consents={**state.consents, purpose: False})
        case _:
            assert_never(event)


AGGREGATE = Aggregate("user", "profiles", User(), decide, evolve)
