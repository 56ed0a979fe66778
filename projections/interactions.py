"""Searching interactions, for audits: by id, user, item, kind, the decision that they answer, and time.

They are found where they are folded, in `user_history`. What Elasticsearch takes in a second is a fraction of what
comes in, so `events_search` does without them.
"""

from functools import cache

from projections.personal import ERASED
from projections.question import Question
from schemas.errors import Invalid

FILTERS = {
    "id": "event_id = %(id)s::uuid",
    "user_id": "user_id = %(user_id)s",
    "item_id": "item_id = %(item_id)s",
    "kind": "kind = %(kind)s",
    "decision_id": "decision_id = %(decision_id)s",
    "since": "occurred_at >= %(since)s::timestamptz",
    "until": "occurred_at < %(until)s::timestamptz",
    "at": '(occurred_at, partition, "offset") < (%(at)s::timestamptz, %(partition)s::int, %(offset)s::bigint)',
}
"""What each filter means; `at`, `partition` and `offset` together are where the page before ended."""

ORDER = ("occurred_at", "partition", "offset")
NARROW = ("id", "user_id", "item_id", "decision_id", "since")
"""Filters of which one has to be given: each has an index; without, every interaction there is would be sorted."""


def check(given: frozenset[str]) -> None:
    """See that a search need not look at everything.

    Raises:
        Invalid: it would have to.
    """
    if given.isdisjoint(NARROW):
        raise Invalid(
            f"say which interactions: one of {', '.join(NARROW)} has to be given",
            code="nothing_asked",
            errors=[{"pointer": f"/{name}", "detail": "or another of these has to be given"} for name in NARROW],
        )


@cache
def question(given: frozenset[str]) -> Question:
    """The question with these filters, and no others: so each has a plan of its own.

    Args:
        given: names of `FILTERS`.
    """
    where = " AND ".join(FILTERS[name] for name in sorted(given))
    found = f"""
        SELECT event_id AS id, user_id, item_id, kind, value, decision_id, occurred_at,
               'interactions/' || partition || '/' || "offset" AS position, partition, "offset"
        FROM user_history WHERE {where}
        ORDER BY occurred_at DESC, partition DESC, "offset" DESC LIMIT %(rows)s
    """
    about_a_person = {"erased": ERASED} if "user_id" in given else {}
    return Question(("user_history", *(["user_profile"] if about_a_person else [])), {"found": found, **about_a_person})
