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
class EraseUser:
    """Forget a person: their key is destroyed, and with it everything that was encrypted under it.

    Attributes:
        user_id: Who.
        reason: Why, such as the number of the request; it stays on record, so it must not describe the person.
    """

    AVRO: ClassVar[str] = "retrace.profiles.EraseUser"

    user_id: str
    reason: str


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
class PersonalDataDestroyed:
    """The erasure has taken effect: no key of the person is left, and no read model holds them.

    Attributes:
        user_id: Who.
        position: Where the erasure stands in the log, as topic/partition/offset.
        keys: Keys of the person that were destroyed; 0 when nothing had been encrypted.
        removed: Rows or documents about the person that each read model removed, by its name.
    """

    AVRO: ClassVar[str] = "retrace.profiles.PersonalDataDestroyed"

    user_id: str
    position: str = ""
    keys: int
    removed: Mapping[str, int] = field(default_factory=dict)


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
class ReportDestruction:
    """The person's key is gone and every read model has dropped them; said by the eraser.

    Attributes:
        user_id: Who.
        position: Where the erasure stands in the log, as topic/partition/offset.
        keys: Keys of the person that were destroyed; 0 when nothing had been encrypted.
        removed: Rows or documents about the person that each read model removed, by its name.
    """

    AVRO: ClassVar[str] = "retrace.profiles.ReportDestruction"

    user_id: str
    position: str = ""
    keys: int
    removed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserErased:
    """From here on the person is forgotten: every reader drops what it holds about them.

    Attributes:
        user_id: Who.
        reason: Why, such as the number of the request; it stays on record, so it must not describe the person.
    """

    AVRO: ClassVar[str] = "retrace.profiles.UserErased"

    user_id: str
    reason: str


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


ProfilesEvent: TypeAlias = (
    ConsentGiven | ConsentWithdrawn | PersonalDataDestroyed | PreferencesChanged | UserErased | UserRegistered
)

ProfilesCommand: TypeAlias = (
    ChangePreferences | EraseUser | GiveConsent | RegisterUser | ReportDestruction | WithdrawConsent
)
