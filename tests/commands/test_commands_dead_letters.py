"""What may be asked of dead letters: the request says which ones, in exactly one way."""

from typing import Any

import pytest

from commands.api.shape import shape_of
from commands.api.validation import validator
from schemas.contracts import contracts
from schemas.deadletters import RetryRequested, SkipRequested
from schemas.errors import Invalid

ONE = [{"position": "interactions/0/42"}, {"key": "ana"}, {"code": "does_not_fit_view"}, {"all": True}]


@pytest.mark.parametrize("chosen", ONE)
def test_a_request_names_records_in_one_way(chosen: dict[str, Any]) -> None:
    """Each of the four ways is enough."""
    fields = validator(RetryRequested.AVRO)({"view": "user_history", **chosen})
    assert {name: value for name, value in fields.items() if value} == {"view": "user_history", **chosen}


@pytest.mark.parametrize(
    "chosen",
    [{}, {"all": False}, {"key": None}, {"key": "ana", "code": "x"}, {"position": "interactions/0/1", "all": True}],
)
def test_a_request_that_could_mean_anything_is_refused(chosen: dict[str, Any]) -> None:
    """Somebody who forgets the filter must not skip all of a read model."""
    with pytest.raises(Invalid, match="exactly one of position, key, code, all"):
        validator(SkipRequested.AVRO)({"view": "user_history", "reason": "a test", **chosen})


def test_a_skip_needs_a_reason() -> None:
    """What is left out for good is explained for good."""
    for reason in ({}, {"reason": ""}):
        with pytest.raises(Invalid):
            validator(SkipRequested.AVRO)({"view": "user_history", "all": True, **reason})


def test_the_description_says_the_same() -> None:
    """Who makes a client from the description cannot send what is refused."""
    shape = shape_of(contracts()[RetryRequested.AVRO])
    assert [one["required"] for one in shape["oneOf"]] == [["position"], ["key"], ["code"], ["all"]]
