"""Old events in today's form: the one place, on every read path.

Avro's own resolution already fills defaults and follows aliases. An upcaster is for what Avro cannot say, such as an
event that was renamed and reshaped. It maps the fields of an old record to a newer one, which may be upcast again.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

Fields: TypeAlias = dict[str, Any]
Upcaster: TypeAlias = Callable[[Fields], tuple[str, Fields]]


def _stars_to_rating(old: Fields) -> tuple[str, Fields]:
    return "retrace.interactions.RatingRecorded", {
        "user_id": old["user_id"],
        "item_id": old["item_id"],
        "rating": float(old["stars"]),
        "rated_at": old["given_at"],
    }


def _rating_to_interaction(old: Fields) -> tuple[str, Fields]:
    return "retrace.interactions.InteractionRecorded", {
        "user_id": old["user_id"],
        "item_id": old["item_id"],
        "kind": "rate",
        "value": old["rating"],
        "occurred_at": old["rated_at"],
        "decision_id": None,
    }


UPCASTERS: Mapping[str, Upcaster] = MappingProxyType(
    {
        "retrace.interactions.StarsGiven": _stars_to_rating,
        "retrace.interactions.RatingRecorded": _rating_to_interaction,
    }
)


def upcast(full_name: str, fields: Fields, upcasters: Mapping[str, Upcaster] = UPCASTERS) -> tuple[str, Fields]:
    """Name and fields in today's form; what is current comes back as it is."""
    while (step := upcasters.get(full_name)) is not None:
        full_name, fields = step(fields)
    return full_name, fields
