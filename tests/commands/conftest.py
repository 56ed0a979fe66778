"""The write side for real: a processor and the command API over the test servers, started once."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from confluent_kafka.admin import AdminClient

from infra.kafka.connect import librdkafka_options
from infra.settings import Settings
from infra.stack.stack import Stack, merged

from ..eventually import eventually
from .writing import WriteSide, open_write_side


@pytest.fixture(scope="session")
def corner(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Topics that the command tests share."""
    mark = f"c{uuid.uuid4().hex[:10]}"
    parts = {"topic_prefix": f"{mark}.", "postgres": {"db_schema": mark}, "kafka": {"partitions": 2}}
    parts["processor"] = {"snapshots": tmp_path_factory.mktemp("snapshots")}
    parts["personal"] = {"keys": tmp_path_factory.mktemp("personal")}
    mine = Settings(
        **merged(stack.settings.model_dump(exclude_unset=True), parts), max_body_bytes=20_000, max_bulk_bytes=2_000_000
    )
    yield mine
    admin = AdminClient(librdkafka_options(mine.kafka) | {"log_level": 0})
    admin.delete_topics([name for name in admin.list_topics(timeout=10).topics if name.startswith(mine.topic_prefix)])
    admin.poll(0)


@pytest.fixture(scope="session")
async def opened(corner: Settings) -> AsyncIterator[WriteSide]:
    """A processor and a command API that the command tests share."""
    async with open_write_side(corner) as side:
        yield side


@pytest.fixture
async def write_side(opened: WriteSide) -> WriteSide:
    """The shared one, well again: while other tests had their turn it stood still, and Kafka may have been killed."""
    await eventually(opened.is_well, within_s=120, every_s=0.1)
    return opened
