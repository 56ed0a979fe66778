"""What is said of commands that were sent from here and not answered yet."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from commands.api import status
from commands.api.outcomes import Outcomes
from commands.api.status import Status
from schemas.errors import NotFound

ANSWER = {"outcome": "accepted"}


@pytest.mark.parametrize(
    ("heard_s", "pending_s", "logged", "said"),
    [
        (60, 600, ANSWER, "pending"),  # it will be heard
        (0, 600, ANSWER, "accepted"),  # it was given while nobody listened
        (0, 600, None, "pending"),  # nobody has decided it yet
        (0, 0, None, None),  # it never got on the log
    ],
)
async def test_an_answer_that_is_not_heard_is_looked_up_and_not_awaited_for_ever(
    heard_s: float, pending_s: float, logged: Any, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that asks as it was told to must learn what became of its command."""
    outcomes, command_id = Outcomes(), uuid4()
    pool: Any = None
    outcomes.wait_for(command_id, "print")
    monkeypatch.setattr(status, "HEARD_S", heard_s)
    monkeypatch.setattr(status, "PENDING_S", pending_s)
    asked = Status(outcomes, pool)

    async def look_up(_: UUID) -> Any:
        return logged

    monkeypatch.setattr(asked, "_logged", look_up)
    if said is None:
        with pytest.raises(NotFound):
            await asked.of(command_id, "default")
    else:
        assert (await asked.of(command_id, "default"))["outcome"] == said
