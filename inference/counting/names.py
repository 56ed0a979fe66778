"""Numbers for names."""


class Names:
    """Numbers for names, by the order in which they came."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.names)

    def number(self, name: str) -> int:
        """Of this name; a new one takes the next."""
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self.names)
            self.names.append(name)
        return found

    def known(self, name: str) -> int | None:
        """Of this name, if it has come."""
        return self._numbers.get(name)
