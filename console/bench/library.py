"""Items with titles and texts of English words, as many as wanted and the same at every run."""

import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from inference.sentences import repository

CATEGORIES = ("action", "comedy", "crime", "drama", "history", "music", "nature", "romance", "science", "travel")
COMMON = 4_000
"""Words in use: the vocabulary of the sentence model has them in the order of how often they are written."""


@cache
def words() -> Sequence[str]:
    """Words of four letters and more."""
    tokens = Path(repository.__file__).with_name("vocab.txt").read_text(encoding="utf-8").split("\n")
    return [token for token in tokens[2_000:] if token.isalpha() and token.isascii() and len(token) > 3][:COMMON]


def items(count: int) -> Iterator[dict[str, Any]]:
    """Bodies of `POST /items`."""
    return (item(number) for number in range(count))


def item(number: int) -> dict[str, Any]:
    """The item of this number."""
    chance = random.Random(number)
    return {
        "item_id": f"book-{number}",
        "title": " ".join(chance.choices(words(), k=3)),
        "description": " ".join(chance.choices(words(), k=12)),
        "categories": chance.sample(CATEGORIES, 2),
        "attributes": {"year": str(chance.randint(1950, 2026))},
    }


def question(number: int, items: int) -> dict[str, Any]:
    """What somebody looks for who remembers something of one of so many items; another for each number.

    One in three knows a category, and one word in eight is mistyped.
    """
    chance = random.Random(-1 - number)
    about = item(chance.randrange(items))
    known = [chance.choice(about["title"].split()), *chance.sample(about["description"].split(), 2)]
    category = chance.choice(about["categories"]) if number % 3 == 0 else None
    return {"q": " ".join(_typed(word, chance) for word in known), "category": category}


def _typed(word: str, chance: random.Random) -> str:
    """The word, now and then with two letters the wrong way round."""
    if chance.random() > 1 / 8:
        return word
    place = chance.randrange(1, len(word) - 1)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
