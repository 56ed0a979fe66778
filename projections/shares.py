"""Documents in parts that are written at once.

Elasticsearch takes the documents of one request to one shard one after another, on one processor.
"""

from collections.abc import Mapping
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 2
WORTH_IT = 500
"""Documents in each part; fewer are written sooner than they are divided."""


def shares(documents: Mapping[str, T]) -> list[dict[str, T]]:
    """Everything about some documents, by id, in one part or two."""
    count = AT_ONCE if len(documents) >= AT_ONCE * WORTH_IT else 1
    return [dict(islice(documents.items(), first, None, count)) for first in range(count)]
