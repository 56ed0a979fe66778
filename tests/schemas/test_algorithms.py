"""What the command API knows of the algorithms, so that a request that nobody could fit is refused at once."""

import pytest

from commands.api.validation import validator
from inference.training import declared
from schemas.algorithms import FILE, algorithms, faults
from schemas.errors import Invalid
from schemas.models import RequestTraining


def test_the_published_algorithms_are_those_declared() -> None:
    """A model that is not published would be refused at the door; python -m inference.training.declared mends it."""
    assert FILE.read_text() == declared.text()


@pytest.mark.parametrize(
    ("algorithm", "params", "pointer"),
    [
        ("magic", {}, "/algorithm"),
        ("item_to_item", {}, "/algorithm"),
        ("ease", {"l2": "much"}, "/params/l2"),
        ("ease", {"l2": "inf"}, "/params/l2"),
        ("ease", {"l2": "1_000"}, "/params/l2"),
        ("ease", {"depth": "3"}, "/params/depth"),
        ("item-to-item", {"neighbours": "1.5"}, "/params/neighbours"),
    ],
)
def test_what_cannot_be_fitted_is_refused_before_it_is_written(
    algorithm: str, params: dict[str, str], pointer: str
) -> None:
    """A run that can only fail costs a place and somebody's patience; the pointer says what to correct."""
    body = {"model": "movies", "run_id": "r", "algorithm": algorithm, "params": params}
    with pytest.raises(Invalid) as refused:
        validator(RequestTraining.AVRO)(body)
    assert [error["pointer"] for error in refused.value.errors] == [pointer]


@pytest.mark.parametrize("name", algorithms())
def test_defaults_can_be_asked_for(name: str) -> None:
    """Whoever writes the defaults down gets what they would have got without."""
    assert not faults(name, {param: str(said["default"]) for param, said in algorithms()[name].items()})
