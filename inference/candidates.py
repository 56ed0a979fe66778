"""From scored candidates to the answer: what was seen, retired or hidden is taken out, the first `limit` stay."""

from collections.abc import Container, Iterable, Mapping

from inference.inputs import Item, Profile


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


def _barred(item: Item | None, profile: Profile) -> bool:
    return item is not None and (item.retired or not item.categories.isdisjoint(profile.hidden_categories))
