"""What may go wrong while a batch is written, in our words; foreign errors are translated here and nowhere else.

Unavailable   the store is away: try again, nothing is lost
Overtaken     another runner was quicker: read the checkpoint again (`checkpoint`)
Unfit         a value of some event does not fit: that event becomes a dead letter
Broken        the declaration is wrong: the view stops
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from elasticsearch import ApiError, TransportError

from infra.postgres import away
from schemas.errors import Incompatible, Problem, Unavailable

BUSY = frozenset({408, 429, 502, 503, 504})
"""Statuses of Elasticsearch that pass by themselves."""


class Unfit(Incompatible):
    """A value of an event does not fit the read model."""

    code = "does_not_fit_view"


class Broken(Problem):
    """The declaration of a read model is wrong, or its store is not as it was made."""

    code = "view_broken"


@contextmanager
def translated(view: str) -> Iterator[None]:
    """Raise our errors in place of those of PostgreSQL and Elasticsearch.

    Raises:
        Unavailable, Unfit, Broken: as the module says.
    """
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError) as fault:
        raise Unfit(f"{view} cannot take the event: {_line(fault)}") from fault
    except (psycopg.OperationalError, psycopg.InterfaceError) as fault:
        raise away(fault) from fault
    except psycopg.Error as fault:
        raise Broken(
            f"the statement of {view} fails: {_line(fault)}; correct it and start the projector again"
        ) from fault
    except ApiError as fault:
        if fault.status_code in BUSY:
            raise Unavailable(f"Elasticsearch is busy ({fault.status_code}) and will be asked again") from fault
        raise Broken(f"Elasticsearch refuses to write {view}: {_line(fault)}") from fault
    except TransportError as fault:
        raise Unavailable(f"Elasticsearch does not answer: {_line(fault)}; is it running?") from fault


def _line(fault: BaseException) -> str:
    return (str(fault).strip() or repr(fault)).splitlines()[0]
