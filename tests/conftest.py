"""Real servers for the tests: started once per run, and a corner of its own for each test."""

import contextlib
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from elasticsearch import Elasticsearch

from infra.kafka.connect import librdkafka_options
from infra.settings import Settings
from infra.stack.stack import merged

from .sharing import SharedStack, shared_stack, turn

pytest.register_assert_rewrite("commands.protocol.conformance")
hypothesis.settings.register_profile("busy machine", deadline=None)
hypothesis.settings.load_profile("busy machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that hurt the servers come first, while those hold little and are soon back; short ones come last.

    Workers take file by file in this order: so none is left with a long one at the end.
    """
    hurting = {item.path for item in items if item.get_closest_marker("alone")}
    items.sort(key=lambda item: (item.path not in hurting, item.get_closest_marker("long") is None))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tests that hurt the servers run alone.

    A turn is for the fixtures of a module or a session too; the time limit of a test begins with its turn.
    """
    alone = item.get_closest_marker("alone") is not None
    with turn(_run_folder(item.config), alone=alone), pytest.MonkeyPatch.context() as patch:
        patch.setattr(SharedStack, "is_alone", alone)
        return (yield)


def _run_folder(config: pytest.Config) -> Path:
    """The folder of this run, the same for all its workers."""
    own: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return own.parent if hasattr(config, "workerinput") else own


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Iterator[SharedStack]:
    """The servers and the schema registry; those of RETRACE_TEST_STACK stay up afterwards."""
    running = Settings().test_stack
    if running is None:
        with shared_stack(_run_folder(pytestconfig)) as servers:
            yield servers
    else:
        servers = SharedStack(Settings(data_dir=running))
        servers.up(servers_only=True)
        yield servers


@pytest.fixture
def settings(stack: SharedStack, tmp_path: Path) -> Iterator[Settings]:
    """Settings with topics, a schema, indices and artifacts that no other test sees; removed afterwards."""
    mark = f"t{uuid.uuid4().hex[:10]}"
    corner = {
        "topic_prefix": f"{mark}.",
        "artifacts": (tmp_path / "artifacts").as_uri(),
        "postgres": {"db_schema": mark},
        "elastic": {"index_prefix": f"{mark}-"},
        "processor": {"snapshots": tmp_path / "snapshots"},
        "personal": {"keys": tmp_path / "personal"},
        "recommend": {"tickets": tmp_path / "tickets"},
    }
    (tmp_path / "personal").mkdir()
    mine = Settings(**merged(stack.settings.model_dump(exclude_unset=True), corner))
    yield mine
    for server, forget in (("kafka", _forget_topics), ("postgres", _forget_tables), ("elastic", _forget_indices)):
        if stack.server(server).running:  # a test may have ended it on purpose
            forget(mine)


def _forget_topics(settings: Settings) -> None:
    admin = AdminClient(librdkafka_options(settings.kafka) | {"log_level": 0})
    topics = [name for name in admin.list_topics(timeout=60).topics if name.startswith(settings.topic_prefix)]
    if topics:
        admin.delete_topics(topics)
        admin.poll(0)


def _forget_tables(settings: Settings) -> None:
    with psycopg.connect(settings.postgres.dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute("SET lock_timeout = '2s'")
        with contextlib.suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            connection.execute(f'DROP SCHEMA IF EXISTS "{settings.postgres.db_schema}" CASCADE'.encode())


def _forget_indices(settings: Settings) -> None:
    with Elasticsearch(settings.elastic.url, request_timeout=60) as client:
        names = list(client.indices.get(index=f"{settings.elastic.index_prefix}*"))
        if names:
            client.indices.delete(index=names, ignore_unavailable=True)
