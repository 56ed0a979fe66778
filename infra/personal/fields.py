"""The personal fields of a contract, sealed before they come to a log and opened for whoever may see them.

A text becomes a sealed text. A map becomes a map with one entry, so that neither its names nor their number show.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import orjson

from infra.personal.seal import Person, PersonKey, is_sealed, seal, unseal
from schemas.contracts import Contract

Fields: TypeAlias = dict[str, Any]

WHOLE = "sealed"
"""Name of the one entry of a sealed map."""


def personal_in(contract: Contract, fields: Mapping[str, Any]) -> list[str]:
    """The personal fields that say something."""
    return [name for name in contract.personal if fields.get(name)]


def sealed_fields(contract: Contract, fields: Fields, person: Person, key: PersonKey) -> Fields:
    """The fields as they may stand in a log. Whatever a caller put there is sealed, be it sealed already."""
    return fields | {name: _sealed(key, person, name, fields[name]) for name in personal_in(contract, fields)}


def opened(key: PersonKey | None, person: Person, name: str, value: Any) -> Any:
    """A personal value as it was given; nothing, when its key is gone. What was never sealed is as it is.

    Raises:
        Incompatible: it was sealed for somebody or something else.
    """
    if isinstance(value, str) and is_sealed(value):
        return None if key is None else unseal(key, person, name, value)
    if isinstance(value, Mapping) and (whole := sealed_whole(value)) is not None:
        return {} if key is None else orjson.loads(unseal(key, person, name, whole))
    return value


def needs_key(value: Any) -> bool:
    """Whether a value is sealed."""
    if isinstance(value, str):
        return is_sealed(value)
    return isinstance(value, Mapping) and sealed_whole(value) is not None


def sealed_whole(value: Mapping[str, Any]) -> str | None:
    """The sealed text that stands for a map; None when the map is not sealed."""
    text = value.get(WHOLE)
    return text if len(value) == 1 and isinstance(text, str) and is_sealed(text) else None


def _sealed(key: PersonKey, person: Person, name: str, value: Any) -> Any:
    if isinstance(value, str):
        return seal(key, person, name, value)
    return {WHOLE: seal(key, person, name, orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode())}
