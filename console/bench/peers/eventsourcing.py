"""The `eventsourcing` library on the same Postgres: aggregates, events in bulk, a projection, and reading all again.

Used as its documentation has it: aggregates in a cache that fast-forwards, a connection pool, inserts by its database
functions (twice as fast here as without), events without an
aggregate saved many at a time, a `ProjectionRunner` whose view writes the rows and the tracking of an event in one
transaction. All of it in this process: no HTTP stands before it.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, DomainEvent, event
from eventsourcing.persistence import IntegrityError, Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from infra.settings import Settings
from schemas.interactions import InteractionRecorded

SAVED_AT_ONCE = 1_000
READ_AT_ONCE = 1_000
POOL = 16
ATTEMPTS = 5


class Person(Aggregate):
    """A user with preferences."""

    @event("Registered")
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.favourites: list[str] = []
        self.language: str | None = None

    @staticmethod
    def create_id(user_id: str) -> UUID:
        """The same id for the same user."""
        return uuid5(NAMESPACE_URL, f"/users/{user_id}")

    @event("PreferencesChanged")
    def change_preferences(self, favourites: list[str], language: str | None) -> None:
        """Replace the preferences."""
        self.favourites = favourites
        self.language = language


class People(Application[UUID]):
    """The write side for people."""

    def register(self, user_id: str) -> None:
        """Make a person known."""
        self.save(Person(user_id))

    def change_preferences(self, user_id: str, favourites: list[str], language: str | None) -> None:
        """Load, decide, save: one command; once more when somebody else was quicker.

        Raises:
            IntegrityError: others were quicker again and again.
        """
        for attempt in range(ATTEMPTS):
            person: Person = self.repository.get(Person.create_id(user_id))
            person.change_preferences(favourites, language)
            try:
                self.save(person)
            except IntegrityError:
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                return


@dataclass(frozen=True)
class Interacted(DomainEvent):
    """Somebody did something with an item; no rule guards it."""

    originator_id: UUID
    originator_version: int
    timestamp: datetime
    user_id: str
    item_id: str
    kind: str
    value: float | None
    occurred_at: datetime


class Interactions(Application[UUID]):
    """Facts, a sequence per user."""

    def record(self, events: Sequence[InteractionRecorded]) -> None:
        """Save the events, many at a time; the only writer, so it counts the versions itself."""
        versions: defaultdict[UUID, int] = defaultdict(int)
        recorded = (self._interacted(one, versions) for one in events)
        while chunk := list(islice(recorded, SAVED_AT_ONCE)):
            self.save(*chunk)

    def _interacted(self, one: InteractionRecorded, versions: dict[UUID, int]) -> Interacted:
        originator = Person.create_id(one.user_id)
        versions[originator] += 1
        return Interacted(
            originator_id=originator,
            originator_version=versions[originator],
            timestamp=Interacted.create_timestamp(),
            user_id=one.user_id,
            item_id=one.item_id,
            kind=one.kind,
            value=one.value,
            occurred_at=one.occurred_at,
        )


class ReadModel(PostgresTrackingRecorder):
    """History and popularity, written with the tracking of the event."""

    def __init__(self, datastore: PostgresDatastore, **options: Any) -> None:
        super().__init__(datastore, **options)
        history, popularity = (Identifier(datastore.schema, name) for name in ("history", "popularity"))
        self.sql_create_statements += [
            SQL(
                """CREATE TABLE IF NOT EXISTS {} (
                    user_id text NOT NULL, item_id text NOT NULL, kind text NOT NULL, value float8,
                    occurred_at timestamptz NOT NULL, notification_id bigint NOT NULL,
                    PRIMARY KEY (user_id, occurred_at, notification_id))"""
            ).format(history),
            SQL("CREATE TABLE IF NOT EXISTS {} (item_id text PRIMARY KEY, interactions bigint NOT NULL)").format(
                popularity
            ),
        ]
        self._insert = SQL("INSERT INTO {} VALUES (%s, %s, %s, %s, %s, %s)").format(history)
        self._count = SQL(
            """INSERT INTO {} AS old VALUES (%s, 1)
               ON CONFLICT (item_id) DO UPDATE SET interactions = old.interactions + 1"""
        ).format(popularity)

    def add(self, one: Interacted, tracking: Tracking) -> None:
        """Write one event."""
        row = (one.user_id, one.item_id, one.kind, one.value, one.occurred_at, tracking.notification_id)
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(self._insert, row, prepare=True)
            cursor.execute(self._count, (one.item_id,), prepare=True)


class Histories(Projection[ReadModel]):
    """Hands every event to the read model."""

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Write an event, or only its tracking."""
        if isinstance(domain_event, Interacted):
            self.view.add(domain_event, tracking)
        else:
            self.view.insert_tracking(tracking)


@contextmanager
def schema(settings: Settings, name: str) -> Iterator[dict[str, str]]:
    """An empty schema for as long as the block runs; gives the environment that the library is configured by."""
    dsn = settings.postgres.dsn.get_secret_value()
    name = f"{settings.postgres.db_schema}_{name}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(name)))
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(name)))
    try:
        yield _environment(dsn, name)
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(name)))


def _environment(dsn: str, name: str) -> dict[str, str]:
    address = conninfo_to_dict(dsn)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(address["dbname"]),
        "POSTGRES_HOST": str(address["host"]),
        "POSTGRES_PORT": str(address["port"]),
        "POSTGRES_USER": str(address["user"]),
        "POSTGRES_PASSWORD": str(address.get("password") or ""),
        "POSTGRES_SCHEMA": name,
        "POSTGRES_POOL_SIZE": str(POOL),
        "POSTGRES_MAX_OVERFLOW": str(POOL),
        "POSTGRES_ENABLE_DB_FUNCTIONS": "y",
        "AGGREGATE_CACHE_MAXSIZE": "1000",
    }


def ingest(environment: dict[str, str], events: Sequence[InteractionRecorded]) -> float:
    """Record the events; events per second until the last one is committed."""
    with Interactions(environment) as application:
        began = time.perf_counter()
        application.record(events)
        return len(events) / (time.perf_counter() - began)


def project(environment: dict[str, str], count: int, timeout_s: float = 300) -> float:
    """Fold so many recorded events into the read model with a `ProjectionRunner`; events per second."""
    began = time.perf_counter()
    with ProjectionRunner(
        application_class=Interactions, projection_class=Histories, view_class=ReadModel, env=environment
    ) as runner:
        runner.wait(count, timeout=timeout_s)
        return count / (time.perf_counter() - began)


def to_parquet(environment: dict[str, str], file: Path) -> float:
    """Read all recorded events again and write Parquet; events per second."""
    with pq.ParquetWriter(file, ARROW) as writer:
        return to_arrow(environment, writer.write_table)


def to_arrow(environment: dict[str, str], take: Callable[[pa.Table], object]) -> float:
    """Read all recorded events again and hand on Arrow tables; events per second."""
    with Interactions(environment) as application:
        began, done = time.perf_counter(), 0
        for events in _sections(application):
            take(pa.Table.from_pylist([_fields(one) for one in events], schema=ARROW))
            done += len(events)
        return done / (time.perf_counter() - began)


ARROW = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("kind", pa.string()),
        ("value", pa.float64()),
        ("occurred_at", pa.timestamp("us", tz="UTC")),
        ("originator_version", pa.int64()),
    ]
)


def _sections(application: Interactions) -> Iterator[list[Interacted]]:
    start = 1
    while notifications := application.recorder.select_notifications(start=start, limit=READ_AT_ONCE):
        yield [application.mapper.to_domain_event(one) for one in notifications]  # type: ignore[misc]
        start = notifications[-1].id + 1


def _fields(one: Interacted) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ARROW.names}


@contextmanager
def people(environment: dict[str, str], user_ids: Sequence[str]) -> Iterator[Callable[[int], None]]:
    """An application that knows these users; gives the command of a number, to be called from any thread."""
    with People(environment) as application:
        for user_id in user_ids:
            application.register(user_id)

        def command(number: int) -> None:
            favourites = [f"category-{number % 7}", f"category-{number % 11}"]
            application.change_preferences(user_ids[number % len(user_ids)], favourites, "en")

        yield command


def decide_and_restore(environment: dict[str, str], user_ids: Sequence[str], count: int) -> tuple[float, float]:
    """Decide so many commands from as many threads as its pool has connections, then load everybody without a cache.

    Returns:
        Decisions per second, and events that were read to load all aggregates, per second.
    """
    with people(environment, user_ids) as command, ThreadPoolExecutor(POOL) as threads:
        began = time.perf_counter()
        list(threads.map(command, range(count)))
        decided = count / (time.perf_counter() - began)
    with People({**environment, "AGGREGATE_CACHE_MAXSIZE": ""}) as application:
        began = time.perf_counter()
        loaded: list[Person] = [application.repository.get(Person.create_id(user_id)) for user_id in user_ids]
        elapsed_s = time.perf_counter() - began
    return decided, sum(person.version for person in loaded) / elapsed_s
