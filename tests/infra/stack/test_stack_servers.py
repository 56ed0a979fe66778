"""The real servers: do they work together, keep their data, and come back."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import psycopg
import pytest
import tritonclient.grpc
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from elasticsearch import Elasticsearch

from infra.kafka.connect import librdkafka_options
from infra.settings import Settings
from infra.stack.stack import SERVERS, Stack

from ...eventually import eventually

MODEL = """
import numpy
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def execute(self, requests):
        inputs = [triton.get_input_tensor_by_name(request, "X").as_numpy() for request in requests]
        return [triton.InferenceResponse([triton.Tensor("Y", values * 2)]) for values in inputs]
"""

CONFIG = """
backend: "python"
max_batch_size: 8
input [{ name: "X" data_type: TYPE_FP32 dims: [ -1 ] }]
output [{ name: "Y" data_type: TYPE_FP32 dims: [ -1 ] }]
"""


def write_model(repository: Path, name: str) -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    (version.parent / "config.pbtxt").write_text(CONFIG)


def doubled(address: str, name: str) -> list[float]:
    with tritonclient.grpc.InferenceServerClient(address) as client:
        client.load_model(name)
        given = tritonclient.grpc.InferInput("X", [1, 2], "FP32")
        given.set_data_from_numpy(np.array([[1.0, 2.5]], np.float32))
        answer = client.infer(name, [given]).as_numpy("Y").ravel().tolist()
        client.unload_model(name)
    return [float(value) for value in answer]


def make_topic(settings: Settings) -> str:
    topic = f"{settings.topic_prefix}kept"
    admin = AdminClient(librdkafka_options(settings.kafka))
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
    return topic


def append(settings: Settings, topic: str, value: bytes) -> None:
    producer = Producer(librdkafka_options(settings.kafka) | {"acks": "all"})
    producer.produce(topic, value)
    assert producer.flush(60) == 0


def read_all(settings: Settings, topic: str, count: int) -> list[bytes | None]:
    group = {"group.id": f"{topic}.reader", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer(librdkafka_options(settings.kafka) | group)
    consumer.subscribe([topic])
    messages = consumer.consume(count, timeout=60)
    consumer.close()
    return [message.value() for message in messages]


def write_row(settings: Settings) -> None:
    with psycopg.connect(settings.postgres.dsn.get_secret_value()) as connection:
        schema = settings.postgres.db_schema
        connection.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.kept (v vector(2))".encode())
        connection.execute(f"INSERT INTO {schema}.kept VALUES ('[1,2]')".encode())


def read_row(settings: Settings) -> str:
    with psycopg.connect(settings.postgres.dsn.get_secret_value()) as connection:
        row = connection.execute(f"SELECT v::text FROM {settings.postgres.db_schema}.kept".encode()).fetchone()
    assert row is not None
    return str(row[0])


async def are(stack: Stack, names: Sequence[str], state: str) -> None:
    async def all_of_them() -> bool:
        return {one.state for one in stack.status(names)} == {state}

    await eventually(all_of_them, within_s=60)


async def test_all_servers_are_up(stack: Stack) -> None:
    """The promise of `retrace up`: when it returns, every server works, if slowly while others use it."""
    await are(stack, SERVERS, "up")


def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    """No server of a laptop may be reachable from its network."""
    pids = {one.pid for one in stack.status(SERVERS)}
    listening = {
        connection.laddr.ip
        for pid in pids
        for process in [psutil.Process(pid)]
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_triton_runs_a_python_model_with_onnxruntime(stack: Stack, settings: Settings) -> None:
    """Every model of ours is an ONNX file that such a model runs."""
    name = settings.postgres.db_schema
    write_model(settings.model_repository, name)
    assert doubled(settings.triton.grpc[0], name) == [2.0, 5.0]


@pytest.mark.alone
async def test_killed_servers_come_back_with_their_data(stack: Stack, settings: Settings) -> None:
    """A crash costs nothing that was acknowledged, and the addresses stay."""
    topic = make_topic(settings)
    append(settings, topic, b"before")
    write_row(settings)
    index = f"{settings.elastic.index_prefix}kept"
    with Elasticsearch(settings.elastic.url, request_timeout=90) as client:
        client.indices.create(index=index)
        client.index(index=index, id="1", document={"said": "before"})

    servers = ("kafka", "postgres", "elastic", "triton")
    for name in servers:
        stack.kill(name)
    await are(stack, servers, "died")
    stack.up(servers)

    assert stack.settings.kafka == settings.kafka
    assert stack.settings.elastic.url == settings.elastic.url
    append(settings, topic, b"after")
    assert read_all(settings, topic, 2) == [b"before", b"after"]
    assert read_row(settings) == "[1,2]"
    with Elasticsearch(settings.elastic.url, request_timeout=90) as client:
        client.cluster.health(wait_for_status="yellow", timeout="60s")
        assert client.get(index=index, id="1")["_source"] == {"said": "before"}


@pytest.mark.alone
def test_up_again_leaves_running_servers_alone(stack: Stack) -> None:
    """`retrace up` is the remedy for anything missing, so it may not disturb the rest."""
    before = {one.name: one.pid for one in stack.status(SERVERS)}
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(stack.up, SERVERS), pool.submit(stack.up, SERVERS)]:
            done.result()
    assert {one.name: one.pid for one in stack.status(SERVERS)} == before


@pytest.mark.alone
async def test_a_frozen_server_is_told_from_a_dead_one(stack: Stack, settings: Settings) -> None:
    """The remedy differs: one is woken, the other started. Sessions that are open freeze too, and go on."""
    with psycopg.connect(settings.postgres.dsn.get_secret_value(), autocommit=True) as connection:
        worker = psutil.Process(connection.info.backend_pid)

        async def stopped() -> bool:
            return worker.status() == psutil.STATUS_STOPPED

        stack.pause("postgres")
        try:
            await are(stack, ["postgres"], "paused")
            await eventually(stopped)
        finally:
            stack.resume("postgres")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    await are(stack, ["postgres"], "up")
