"""The keys of people as services use them: looked up beside the event loop, and kept in memory for a moment."""

import asyncio
import time
from collections import OrderedDict

from infra.personal.files import KeyFiles
from infra.personal.master import master_of
from infra.personal.seal import Person, PersonKey
from infra.settings import Settings
from schemas.errors import Unavailable


class Keys:
    """A window on the folder of keys; it opens nothing before it is asked.

    A key that is destroyed by another process stays in the memory of this one for at most `personal.cache_s`; who hears
    of the erasure says `forget`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._files: KeyFiles | None = None
        self._cache: OrderedDict[Person, tuple[float, PersonKey]] = OrderedDict()

    @property
    def files(self) -> KeyFiles:
        """The folder.

        Raises:
            Unavailable: there is no master key.
        """
        if self._files is None:
            personal = self._settings.personal
            if personal.master_key is None:
                raise Unavailable(
                    "there is no master key for personal data: `retrace up` makes one, elsewhere it is the setting "
                    "RETRACE_PERSONAL__MASTER_KEY",
                    code="keys_away",
                )
            self._files = KeyFiles(
                self._settings.key_folder, master_of(personal.master_key), self._settings.topic_prefix
            )
        return self._files

    async def of(self, person: Person) -> PersonKey | None:
        """A person's key; None when there is none, or none any more.

        Raises:
            Unavailable: the keys are away.
        """
        if (kept := self._kept(person)) is not None:
            return kept
        found = await asyncio.to_thread(self.files.get, person)
        if found is not None:
            self._keep(person, found)
        return found

    async def made(self, person: Person) -> PersonKey:
        """A person's key; a new one when there was none, durable when this returns.

        Raises:
            Gone: the person has been erased.
            Unavailable: the keys are away.
        """
        if (kept := self._kept(person)) is not None:
            return kept
        made = await asyncio.to_thread(self.files.make, person)
        self._keep(person, made)
        return made

    async def destroy(self, person: Person) -> int:
        """Forget a person for good; how many keys there were.

        Raises:
            Unavailable: the keys are away.
        """
        self.forget(person)
        return await asyncio.to_thread(self.files.destroy, person)

    async def erased(self) -> set[Person]:
        """Everybody who was erased.

        Raises:
            Unavailable: the keys are away.
        """
        return await asyncio.to_thread(self.files.erased)

    def forget(self, person: Person) -> None:
        """Drop a key from memory."""
        self._cache.pop(person, None)

    def _kept(self, person: Person) -> PersonKey | None:
        until, key = self._cache.get(person, (0.0, None))
        return key if until > time.monotonic() else None

    def _keep(self, person: Person, key: PersonKey) -> None:
        self._cache[person] = (time.monotonic() + self._settings.personal.cache_s, key)
        self._cache.move_to_end(person)
        while len(self._cache) > self._settings.personal.cache_size:
            self._cache.popitem(last=False)
