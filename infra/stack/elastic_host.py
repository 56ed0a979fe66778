"""Runs one Elasticsearch node inside this Python process: `python elastic_host.py HOME LIBVM HEAP_MB`.

Elasticsearch is published as jars, but not as a runnable package; its launcher, its security manager policies and most
of its modules are missing. JPype loads the JVM here and builds the `Node` the launcher would have built, with the one
module it cannot do without: `transport-netty4`. `HOME` has the layout of an Elasticsearch home (config, lib, modules).

Kept free of imports of ours, so that it starts fast.
"""

import signal
import sys
from pathlib import Path
from typing import Any

import jpype


def start_jvm(home: Path, libjvm: Path, heap_mb: int) -> None:
    """Load the JVM with the server's jars; `-Xrs` leaves SIGTERM to Python."""
    jpype.startJVM(
        str(libjvm),
        "-Xrs",
        f"-Xms{heap_mb}m",
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC" if heap_mb < 512 else "-XX:+UseG1GC",
        "-XX:+ExplicitGCInvokesConcurrent",  # JPype asks for collections, and a full one stops searches for 0.1 s
        "-XX:+ExitOnOutOfMemoryError",
        "-Dlog4j2.disable.jmx=true",
        "-Dlog4j2.formatMsgNoLookups=true",
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={home / 'tmp'}",
        f"-Des.path.home={home}",
        "--add-modules=jdk.net",
        "--add-opens=java.base/java.io=ALL-UNNAMED",
        "--add-opens=java.base/java.nio.channels=ALL-UNNAMED",
        "--enable-native-access=ALL-UNNAMED",
        classpath=[str(jar) for jar in sorted((home / "lib").glob("*.jar"))],
    )


def build_node(home: Path) -> Any:
    """The node that the launcher would have built from the same home."""
    from_java = jpype.JClass
    paths, collections = from_java("java.nio.file.Paths"), from_java("java.util.Map")
    es = "org.elasticsearch."
    settings = from_java(es + "common.settings.Settings").builder().put("path.home", str(home)).build()
    preparer = from_java(es + "node.InternalSettingsPreparer")
    name = jpype.JProxy("java.util.function.Supplier", {"get": lambda: "retrace"})
    environment = preparer.prepareEnvironment(settings, collections.of(), paths.get(str(home / "config")), name)
    logging = from_java(es + "common.logging.LogConfigurator")
    logging.registerErrorListener()
    logging.configure(environment, True)
    loader = from_java(es + "plugins.PluginsLoader")
    modules = loader.loadModulesBundles(environment.modulesDir())
    plugins = loader.loadPluginsBundles(environment.pluginsDir())
    return from_java(es + "node.Node")(
        environment, loader.createPluginsLoader(modules, plugins, collections.of(), False)
    )


def main() -> None:
    """Start the node, wait for a signal, close the node."""
    home, libjvm, heap_mb = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    start_jvm(home, libjvm, heap_mb)
    node = build_node(home)
    node.start()
    signal.sigwait(stop)
    node.close()


if __name__ == "__main__":
    main()
