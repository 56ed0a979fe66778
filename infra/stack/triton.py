"""Triton Inference Server from the `nvidia-pytriton` wheel.

The wheel wants numpy < 2, so it lives in an environment of its own, together with the onnxruntime that our models use.
Of the backends it ships the Python one alone, which needs the stub of this interpreter's version.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from typing_extensions import override

from infra.settings import child_environment
from infra.stack import cache, checks
from infra.stack.ports import HOST
from infra.stack.process import Command
from infra.stack.server import Embedded, Say
from schemas.errors import Unavailable

SHARED_MEMORY = Path("/dev/shm")


class Triton(Embedded):
    """The scorer."""

    name = "triton"
    memory_mb = 300

    @override
    def claim(self) -> None:
        self.ports.choose("triton", *self.fixed("triton_port"))
        self.ports.choose("triton.http")
        self.ports.choose("triton.metrics")

    @override
    def prepare(self, say: Say) -> Command:
        say("fetching wheels")
        environment = cache.environment(self.settings.cache_dir, "triton")
        packages = next((environment / "lib").glob("python*/site-packages"))
        self.settings.model_repository.mkdir(parents=True, exist_ok=True)
        self._forget_shared_memory()
        argv = [str(packages / "pytriton" / "tritonserver" / "bin" / "tritonserver"), *self._flags(packages)]
        return Command(argv, self._variables(environment, packages))

    @override
    def check(self) -> None:
        checks.triton([self.address])

    @override
    def endpoints(self) -> dict[str, Any]:
        repository = str(self.settings.model_repository)
        return {"triton": {"grpc": [self.address], "model_repository": repository, "backend": "python"}}

    def _flags(self, packages: Path) -> list[str]:
        values = {
            "model-repository": self.settings.model_repository,
            "model-control-mode": "explicit",
            "strict-readiness": "false",  # else a model that failed to load makes the whole server unready
            "backend-directory": self._backends(packages),
            "backend-config": f"python,shm-region-prefix-name={self._region}",
            "http-address": HOST,
            "http-port": self.ports.of("triton.http"),
            "grpc-address": HOST,
            "grpc-port": self.port,
            "metrics-address": HOST,
            "metrics-port": self.ports.of("triton.metrics"),
            "exit-timeout-secs": 5,
        }
        return [f"--{key}={value}" for key, value in values.items()]

    def _backends(self, packages: Path) -> Path:
        """A backend folder with the stub of this interpreter's version, which the wheel keeps elsewhere."""
        shipped = packages / "pytriton" / "tritonserver"
        python = self.make("backends", "python")
        stub = f"python_backend_stubs/{sys.version_info.major}.{sys.version_info.minor}/triton_python_backend_stub"
        names = ["backends/python/libtriton_python.so", "backends/python/triton_python_backend_utils.py", stub]
        for name in names:
            shutil.copy(shipped / name, python / Path(name).name)
        return python.parent

    def _variables(self, environment: Path, packages: Path) -> dict[str, str]:
        """Where the server finds its libraries; the stub finds its packages by the `python3` that comes first."""
        variables = child_environment()
        libraries = [packages / "nvidia_pytriton.libs", python_library().parent]
        return variables | {
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
            "PATH": os.pathsep.join([str(environment / "bin"), variables.get("PATH", os.defpath)]),
        }

    @property
    def _region(self) -> str:
        """Of the shared memory between server and stubs; its own, for several servers may run on one machine."""
        return f"retrace_{self.port}_"

    def _forget_shared_memory(self) -> None:
        """What a killed server left behind."""
        for region in SHARED_MEMORY.glob(f"{self._region}*"):
            region.unlink(missing_ok=True)


def python_library() -> Path:
    """The shared library of this interpreter, which the stub links to.

    Raises:
        Unavailable: this Python was built without one.
    """
    name = str(sysconfig.get_config_var("INSTSONAME"))
    for folder in (Path(sys.base_prefix) / "lib", Path(str(sysconfig.get_config_var("LIBDIR")))):
        if ".so" in name and (folder / name).is_file():
            return folder / name
    raise Unavailable(
        "Triton needs a Python with a shared library; make the environment with one of uv's: "
        "`uv venv --python-preference only-managed`."
    )
