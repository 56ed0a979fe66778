"""From scored candidates to the answer: what was seen, retired or hidden is taken out, the first `limit` stay."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

from inference.inputs import Item, Profile

NEWEST = 20
"""Newest interactions of a history that tell what a user likes."""


def answer(
    scored: Iterable[tuple[str, float]],
    history: Container[str],
    profile: Profile,
    catalogue: Mapping[str, Item],
    limit: int,
) -> tuple[list[tuple[str, float]], list[str]]:
    """The items of an answer with their scores, and those taken out on the way.

    The same for every source: candidates of a model, popular items, the items of the last good answer.

    Args:
        scored: candidates, best first.
        history: ids the user has met; they are left out silently. A set is best.
        profile: of the user.
        catalogue: at least the candidates; an item that it does not hold is answered.
        limit: length of the answer; candidates after the last answered one are not looked at.

    Returns:
        The answer, best first, and the retired or hidden candidates that stood before its end, in their order.
    """
    items: list[tuple[str, float]] = []
    filtered: list[str] = []
    for item_id, score in scored:
        if len(items) >= limit:
            break
        if item_id in history:
            continue
        if _barred(catalogue.get(item_id), profile):
            filtered.append(item_id)
        else:
            items.append((item_id, score))
    return items, filtered


def popular(counts: Mapping[str, int]) -> list[tuple[str, float]]:
    """Items by how often they were met, most first; equal counts by id. The score is the count."""
    return [(item, float(n)) for item, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]


def liked_categories(profile: Profile, history: Sequence[str], catalogue: Mapping[str, Item]) -> frozenset[str]:
    """The categories that a user asked for, else the one that most of the newest items of the history have.

    Of equals the first in the alphabet; none where nothing is known, none that the user hides, and none at all of
    somebody who does not consent to personalisation.
    """
    if not profile.personalisation:
        return frozenset()
    if profile.favourite_categories:
        return profile.favourite_categories - profile.hidden_categories
    newest = [catalogue[item] for item in newest_of(history) if item in catalogue]
    counts = Counter(category for item in newest for category in item.categories - profile.hidden_categories)
    return frozenset(sorted(counts, key=lambda category: (-counts[category], category))[:1])


def newest_of(history: Sequence[str]) -> list[str]:
    """The items of a history, oldest first, whose categories say what a user likes."""
    return list(dict.fromkeys(history[-NEWEST:]))


def liked_first(
    scored: Sequence[tuple[str, float]], liked: Container[str], catalogue: Mapping[str, Item]
) -> tuple[list[tuple[str, float]], int]:
    """Candidates of these categories first, then the others, both in their order; and how many come first."""
    first: list[tuple[str, float]] = []
    others: list[tuple[str, float]] = []
    for item_id, score in scored:
        item = catalogue.get(item_id)
        is_liked = item is not None and any(category in liked for category in item.categories)
        (first if is_liked else others).append((item_id, score))
    return [*first, *others], len(first)


def _barred(item: Item | None, profile: Profile) -> bool:
    return item is not None and (item.retired or not item.categories.isdisjoint(profile.hidden_categories))
