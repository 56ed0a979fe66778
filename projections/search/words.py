"""Texts as they are compared: the server has no analyzers beyond the standard one, so accents are folded here."""

import unicodedata
from collections.abc import Iterator

LONGEST_SUGGESTION = 100
MOST_SUGGESTIONS = 8


def folded(text: str) -> str:
    """The text in lower case and without accents and other marks: `Amélie` as `amelie`, `ﬁlm` as `film`.

    Source: The Unicode Standard, section 3.13, compatibility caseless matching (D146): some letters have a case only
    once they are decomposed, and some are composed again by folding it.
    """
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text.casefold()).casefold())
    return unicodedata.normalize("NFC", "".join(char for char in apart if not unicodedata.combining(char)))


def beginnings(title: str) -> Iterator[str]:
    """What people may begin to type for a title: the title, and the title from each of its next words on."""
    words = folded(title).split()
    for first in range(min(len(words), MOST_SUGGESTIONS)):
        yield " ".join(words[first:])[:LONGEST_SUGGESTION]
