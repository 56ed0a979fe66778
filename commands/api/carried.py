"""Commands by their name, and commands that carry another one, which is sent later.

What is carried is checked when it is scheduled, not when nobody is there any more to be told.
"""

from difflib import get_close_matches
from typing import Any

import orjson

from commands.api.validation import Fields, validator
from infra.access.identity import Identity
from infra.personal.fields import needs_key
from schemas.contracts import Contract, contracts
from schemas.errors import Invalid

COMMANDS = {
    contract.name: contract
    for contract in contracts().values()
    if contract.kind == "command" and not contract.is_sealed
}
"""What anybody may send by its name; a sealed one is made by the API alone."""


def contract_named(text: str) -> Contract:
    """The contract of a command, by its name with or without namespace.

    Raises:
        Invalid: there is none.
    """
    name = text.rpartition(".")[2]
    contract = COMMANDS.get(name)
    if contract is None or text not in (name, contract.full_name):
        near = get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(COMMANDS)}"
        raise Invalid(f"there is no command '{text[:100]}': {hint}", code="unknown_command_type")
    return contract


def check_carried(contract: Contract, fields: Fields, identity: Identity) -> None:
    """Judge the carried command as if it were sent now, by the same person.

    Raises:
        Invalid: there is no such command, or a field of it is wrong; `errors` points into it.
        Forbidden: they may not send it.
    """
    if contract.carries is None:
        return
    named, held = contract.carries
    try:
        inner = contract_named(fields[named])
    except Invalid as problem:
        raise Invalid(
            problem.detail, code=problem.code, errors=[{"pointer": f"/{named}", "detail": problem.detail}]
        ) from None
    identity.need(inner.roles)
    if inner.carries is not None:
        detail = f"a {inner.name} cannot be sent later"
        raise Invalid(detail, errors=[{"pointer": f"/{named}", "detail": detail}])
    _, faults = validator(inner.full_name).check(orjson.loads(fields[held]))
    if faults:
        errors = [fault.under(held).error() for fault in faults]
        raise Invalid(f"the {inner.name} has {len(faults)} faults; `errors` names each", errors=errors)


def carried_record(command_type: str, data: str) -> tuple[Contract, dict[str, Any]]:
    """Contract and fields of a carried command; what describes a person stays sealed.

    Raises:
        Invalid: it is none any more: the contracts have changed since it was scheduled.
    """
    contract, given = contract_named(command_type), orjson.loads(data)
    sealed = {name: given.pop(name) for name in contract.personal if needs_key(given.get(name))}
    return contract, validator(contract.full_name)(given) | sealed
