"""Answering about people: 410 about the erased, and what is sealed is opened in the moment of the answer.

Nothing that leaves this module opened is kept: every store, and every cache of rows, has it sealed.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from infra.personal.fields import needs_key, opened
from infra.personal.files import erased
from infra.personal.keys import Keys
from infra.personal.seal import PREFIX, Person
from infra.settings import Settings
from projections.freshness import Freshness
from projections.question import Answer, Question
from projections.readmodels import ReadModels

FIELDS = ("name", "attributes")
"""Columns of `user_profile` that are sealed."""

MARK = PREFIX.encode()

ERASED = "SELECT erased_at FROM erased_people WHERE user_id = %(user_id)s"
"""Part of every question about a person."""


class People:
    """Questions about people.

    Args:
        models: where they are asked.
    """

    def __init__(self, models: ReadModels, settings: Settings) -> None:
        self._models = models
        self._tenant = settings.tenant
        self._keys = Keys(settings)

    async def ask(self, question: Question, freshness: Freshness, user_id: str, **values: Any) -> Answer:
        """The answer about a person who is there.

        Args:
            question: with the part `erased`.

        Raises:
            Gone: the person has been erased.
            Invalid, TimedOut, Unavailable: as `ReadModels.ask`.
        """
        found = await self._models.ask(question, freshness, user_id=user_id, **values)
        if (row := found.row("erased")) is not None:
            problem = erased(user_id)
            problem.extra |= {"erased_at": row["erased_at"], "position": found.position}
            raise problem
        return found

    async def shown(self, user_id: str, profile: bytes) -> bytes:
        """A profile, as JSON, with what is sealed opened; null and empty where its key is gone.

        Raises:
            Unavailable: the keys are away.
            Incompatible: something was sealed for somebody else.
        """
        if MARK not in profile:
            return profile
        fields: dict[str, Any] = orjson.loads(profile)
        sealed = [name for name in FIELDS if needs_key(fields.get(name))]
        return orjson.dumps(fields | await self._opened(user_id, fields, sealed))

    async def _opened(self, user_id: str, fields: dict[str, Any], sealed: Iterable[str]) -> dict[str, Any]:
        person = Person(self._tenant, user_id)
        key = await self._keys.of(person)
        return {name: opened(key, person, name, fields[name]) for name in sealed}
