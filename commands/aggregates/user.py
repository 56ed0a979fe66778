"""A user: registered once, then preferences and consents; erased for good."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from commands.aggregate import Aggregate
from schemas.envelope import Meta
from schemas.errors import Gone, NotFound, Rejected
from schemas.profiles import (
    ChangePreferences,
    ConsentGiven,
    ConsentWithdrawn,
    EraseUser,
    GiveConsent,
    PersonalDataDestroyed,
    PreferencesChanged,
    ProfilesCommand,
    ProfilesEvent,
    RegisterUser,
    ReportDestruction,
    UserErased,
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
        erased: whether the person is to be forgotten; nothing but that is kept then.
        destroyed: whether it has been reported that this is done.
    """

    registered: bool = False
    preferences: PreferencesChanged | None = None
    consents: Mapping[str, bool] = field(default_factory=dict)
    erased: bool = False
    destroyed: bool = False


def decide(state: User, command: ProfilesCommand, _meta: Meta) -> Sequence[ProfilesEvent]:
    """What a command leads to.

    Raises:
        Rejected: the user is registered already, or a destruction is reported that nobody asked for.
        NotFound: the user is not registered.
        Gone: the user has been erased.
    """
    if state.erased:
        return _after_erasure(state, command)
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
        case EraseUser(user_id=user_id, reason=reason):
            return [UserErased(user_id=user_id, reason=reason)]  # of whom only interactions are known may ask as well
        case ReportDestruction(user_id=user_id):
            raise Rejected(f"user '{user_id}' has not been erased: nothing may be destroyed", code="not_erased")
        case _:
            assert_never(command)


def _after_erasure(state: User, command: ProfilesCommand) -> Sequence[ProfilesEvent]:
    match command:
        case EraseUser():
            return []
        case ReportDestruction(user_id=user_id, position=position, keys=keys, removed=removed):
            if state.destroyed:
                return []
            return [PersonalDataDestroyed(user_id=user_id, position=position, keys=keys, removed=removed)]
        case _:
            raise Gone(
                f"user '{command.user_id}' has been erased for good: a person who comes back takes another id",
                code="erased_user",
            )


def _known(state: User, user_id: str) -> None:
    if not state.registered:
        raise NotFound(f"no user '{user_id}': register the user first (POST /users)", code="unknown_user")


def evolve(state: User, event: ProfilesEvent) -> User:
    """The state after an event."""
    match event:
        case UserRegistered():
            return replace(state, registered=True)
        case PreferencesChanged():
            return User(
                state.registered, event, state.consents, state.erased, state.destroyed
            )  # frequent, and `replace` takes thrice as long
        case ConsentGiven(purpose=purpose):
            return replace(state, consents={**state.consents, purpose: True})
        case ConsentWithdrawn(purpose=purpose):
            return replace(state, consents={**state.consents, purpose: False})
        case UserErased():
            return User(erased=True)
        case PersonalDataDestroyed():
            return replace(state, destroyed=True)
        case _:
            assert_never(event)


AGGREGATE = Aggregate("user", "profiles", User(), decide, evolve)
