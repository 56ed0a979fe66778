"""What is known of commands that were sent from here."""

from uuid import uuid4

import pytest

from commands.api import outcomes
from commands.api.outcomes import Outcomes


async def test_an_answer_that_does_not_come_is_not_awaited_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that never got on the log would be `pending` for whoever asks, instead of unknown."""
    known, command_id = Outcomes(), uuid4()
    known.wait_for(command_id, "print")
    assert known.is_awaited(command_id)
    monkeypatch.setattr(outcomes, "AWAITED_S", 0.0)
    assert not known.is_awaited(command_id)
