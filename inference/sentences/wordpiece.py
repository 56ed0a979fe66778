"""Texts to the tokens of an uncased BERT model. Runs inside Triton as well, so it needs nothing but Python.

Source: Devlin et al., BERT (NAACL 2019): basic tokens (lower case, no accents, punctuation and each CJK character on
their own), then greedy longest match against the vocabulary, after Wu et al. (2016).
"""

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

LONGEST_WORD = 100
CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
UNSEEN = ("Cc", "Cf", "Co", "Cs")
ASCII_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


class WordPiece:
    """Turns texts into token ids.

    Args:
        vocabulary: the tokens by id.
        longest: ids of a text at most, with the two that frame it; what is longer is cut.
    """

    def __init__(self, vocabulary: Sequence[str], longest: int) -> None:
        self._ids = {token: number for number, token in enumerate(vocabulary)}
        self._unknown = self._ids["[UNK]"]
        self._longest = longest

    @classmethod
    def read(cls, file: Path, longest: int) -> "WordPiece":
        """With the vocabulary of a file, a token per line."""
        return cls(file.read_text(encoding="utf-8").split("\n"), longest)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, framed as the model expects."""
        found: list[int] = []
        for word in words(text):
            found += self._pieces(word)
            if len(found) >= self._longest - 2:
                break
        return [self._ids["[CLS]"], *found[: self._longest - 2], self._ids["[SEP]"]]

    def _pieces(self, word: str) -> list[int]:
        """A word as the longest known pieces, from the left; unknown as a whole when one piece is."""
        if len(word) > LONGEST_WORD:
            return [self._unknown]
        found, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            end = next((e for e in range(len(word), start, -1) if prefix + word[start:e] in self._ids), start)
            if end == start:
                return [self._unknown]
            found.append(self._ids[prefix + word[start:end]])
            start = end
        return found


def words(text: str) -> Iterator[str]:
    """The basic tokens of a text."""
    word: list[str] = []
    for char in unicodedata.normalize("NFD", _spaced(text).lower()):
        if unicodedata.category(char) == "Mn":
            continue
        alone = char.isspace() or _is_punctuation(char)
        if not alone:
            word.append(char)
        elif word:
            yield "".join(word)
            word = []
        if alone and not char.isspace():
            yield char
    if word:
        yield "".join(word)


def _spaced(text: str) -> str:
    """The text without control characters, and with a space on both sides of each CJK character."""
    return "".join(_placed(char) for char in text)


def _placed(char: str) -> str:
    if char in "\t\n\r":
        return " "
    if ord(char) in (0, 0xFFFD) or unicodedata.category(char) in UNSEEN:
        return ""
    return f" {char} " if any(low <= ord(char) <= high for low, high in CJK) else char


def _is_punctuation(char: str) -> bool:
    return char in ASCII_PUNCTUATION or unicodedata.category(char).startswith("P")
