"""One ranking out of several whose scores cannot be compared."""

from collections.abc import Sequence

CONSTANT = 60
"""How little the first places of a ranking stand out; the value of the source."""


def fused(*rankings: Sequence[str]) -> list[tuple[str, float]]:
    """All that is ranked anywhere, best first, with its score; of equals the one that an earlier ranking has first.

    Reciprocal rank fusion: each ranking adds 1 / (60 + rank), so that what several rankings have near their top wins,
    and no score is compared with another's.

    Source: Cormack, Clarke and Büttcher, Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank Learning
    Methods (SIGIR 2009).
    """
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, one in enumerate(ranking, start=1):
            scores[one] = scores.get(one, 0.0) + 1 / (CONSTANT + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])
