"""The examples in the contracts: what people copy has to work."""

import pytest

from commands.api.validation import validator
from schemas.contracts import Contract, contracts

TAKEN = [contract for contract in contracts().values() if contract.kind == "command" or contract.http is not None]


@pytest.mark.parametrize("contract", TAKEN, ids=lambda contract: contract.name)
def test_every_example_is_a_body_that_is_taken(contract: Contract) -> None:
    """An example that is refused teaches the wrong thing; a command without one teaches nothing."""
    assert contract.example
    _, faults = validator(contract.full_name).check(contract.example)
    assert [fault.error() for fault in faults] == []
