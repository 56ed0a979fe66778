"""Generated from schemas/avro/usage; change those files and run `python -m schemas.generate`."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyUsed:
    """A key has been in use; said every few minutes at most.

    Attributes:
        key_id: Public part of the key, which names it.
        used_at: When it was last used, as far as the service had noticed.
        service: The service that it was used at.
    """

    AVRO: ClassVar[str] = "retrace.usage.ApiKeyUsed"

    key_id: str
    used_at: datetime
    service: str


UsageEvent: TypeAlias = ApiKeyUsed
