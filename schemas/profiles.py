"""Generated from schemas/avro/profiles; change those files and run `python -m schemas.generate`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePreferences:
    """Replace the user's preferences.

    Attributes:
        user_id: Who.
        favourite_categories: Categories the user asked for.
        hidden_categories: Categories never to be recommended.
        language: Language tag (BCP 47).
    """

    AVRO: ClassVar[str] = "retrace.profiles.ChangePreferences"

    user_id: str
    favourite_categories: tuple[str, ...] = ()
    hidden_categories: tuple[str, ...] = ()
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentGiven:
    """The user allowed a use of their data.

    Attributes:
        user_id: Who.
        purpose: What the data may be used for.
    """

    AVRO: ClassVar[str] = "retrace.profiles.ConsentGiven"

    user_id: str
    purpose: Literal["personalisation", "training"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentWithdrawn:
    """The user forbade a use of their data from here on.

    Attributes:
        user_id: Who.
        purpose: What the data may be used for.
    """

    AVRO: ClassVar[str] = "retrace.profiles.ConsentWithdrawn"

    user_id: str
    purpose: Literal["personalisation", "training"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveConsent:
    """Allow a use of the user's data.

    Attributes:
        user_id: Who.
        purpose: What the data may be used for.
    """

    AVRO: ClassVar[str] = "retrace.profiles.GiveConsent"

    user_id: str
    purpose: Literal["personalisation", "training"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencesChanged:
    """The user's preferences were replaced.

    Attributes:
        user_id: Who.
        favourite_categories: Categories the user asked for.
        hidden_categories: Categories never to be recommended.
        language: Language tag (BCP 47).
    """

    AVRO: ClassVar[str] = "retrace.profiles.PreferencesChanged"

    user_id: str
    favourite_categories: tuple[str, ...] = ()
    hidden_categories: tuple[str, ...] = ()
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterUser:
    """Make a user known.

    Attributes:
        user_id: Who.
        name: How to call the person.
        attributes: Further facts, by name.
    """

    AVRO: ClassVar[str] = "retrace.profiles.RegisterUser"

    user_id: str
    name: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRegistered:
    """A user became known.

    Attributes:
        user_id: Who.
        name: How to call the person.
        attributes: Further facts, by name.
    """

    AVRO: ClassVar[str] = "retrace.profiles.UserRegistered"

    user_id: str
    name: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawConsent:
    """Forbid a use of the user's data from here on.

    Attributes:
        user_id: Who.
        purpose: What the data may be used for.
    """

    AVRO: ClassVar[str] = "retrace.profiles.WithdrawConsent"

    user_id: str
    purpose: Literal["personalisation", "training"]


ProfilesEvent: TypeAlias = ConsentGiven | ConsentWithdrawn | PreferencesChanged | UserRegistered

ProfilesCommand: TypeAlias = ChangePreferences | GiveConsent | RegisterUser | WithdrawConsent
