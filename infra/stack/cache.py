"""Downloads, kept once for all data folders: made under a lock, aside, then renamed into place.

Whoever comes second waits and finds the folder whole; whoever is killed half-way leaves nothing that looks done.
"""

import fcntl
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.settings import child_environment
from schemas.errors import Unavailable

LOCKS = Path(__file__).parent / "locks"
ATTEMPTS = 3
FETCH_S = 30


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the kernel lets go of it when the process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, filled by `make` the first time anybody asks for it."""
    if folder.is_dir():
        return folder
    with locked(folder.with_name(f".{folder.name}.lock")):
        if not folder.is_dir():
            aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                make(aside)
                aside.chmod(0o755)
                aside.rename(folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    return folder


def jars(cache: Path, name: str, coordinates: Sequence[str]) -> Path:
    """The folder of jars of these Maven coordinates and all they depend on, as `locks/<name>.sha256` pins them.

    Raises:
        Unavailable: the download failed, or what came is not what was pinned.
    """
    lock = (LOCKS / f"{name}.sha256").read_text()
    version = hashlib.sha256(lock.encode()).hexdigest()[:12]
    return once(cache / "jars" / f"{name}-{version}", lambda folder: _resolve(folder, coordinates, lock))


def _resolve(folder: Path, coordinates: Sequence[str], lock: str) -> None:
    """Let jgo resolve and fetch, keep the jars alone, and compare them with the lock.

    One by one: resolved together, the second artifact's managed versions would replace the first one's.
    """
    work = folder / "jgo"
    command = [sys.executable, "-m", "jgo", "--ignore-config", "--quiet", "--resolver", "python"]
    command += ["--links", "hard", "--class-path-only", "--cache-dir", str(work), "--repo-cache", str(work / "m2")]
    for coordinate in coordinates:
        download([*command, "info", "classpath", coordinate], needs="jgo")
    for jar in (work / "envs").rglob("*.jar"):
        jar.replace(folder / jar.name)
    shutil.rmtree(work)
    _compare(folder, coordinates, lock)


def alone(cache: Path, name: str, coordinates: Sequence[str]) -> Path:
    """The folder of the jars of exactly these Maven coordinates, without what they depend on, as the lock pins them.

    Raises:
        Unavailable: the download failed, or what came is not what was pinned.
    """
    lock = (LOCKS / f"{name}.sha256").read_text()
    version = hashlib.sha256(lock.encode()).hexdigest()[:12]
    return once(cache / "jars" / f"{name}-{version}", lambda folder: _fetch(folder, coordinates, lock))


def _fetch(folder: Path, coordinates: Sequence[str], lock: str) -> None:
    from jgo.maven import MavenContext

    maven = MavenContext(repo_cache=folder / "m2", timeout=FETCH_S)
    for coordinate in coordinates:
        group, artifact, version = coordinate.split(":")
        jar = _attempted(maven.project(group, artifact).at_version(version).artifact().resolve, coordinate)
        jar.replace(folder / jar.name)
    shutil.rmtree(folder / "m2")
    _compare(folder, coordinates, lock)


def _attempted(resolve: Callable[[], Path], coordinate: str) -> Path:
    said = ""
    for _ in range(ATTEMPTS):
        try:
            return resolve()
        except (OSError, RuntimeError) as fault:
            said = str(fault)
    raise Unavailable(
        f"The download of {coordinate} failed; check the network and the package index, then run it again. "
        f"It said: {said[-600:]}",
        code="download_failed",
    )


def _compare(folder: Path, coordinates: Sequence[str], lock: str) -> None:
    if fingerprint(folder) != lock:
        raise Unavailable(
            f"The jars of {coordinates[0]} differ from the pinned ones; try again, and if it happens again compare "
            "them with infra/stack/locks before you trust their source.",
            code="download_differs",
        )


def fingerprint(folder: Path) -> str:
    """One `sha256  name` line per jar, sorted by name: what a lock file holds."""
    return "".join(
        f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in sorted(folder.glob("*.jar"))
    )


def environment(cache: Path, name: str) -> Path:
    """The virtual environment of the packages that `locks/<name>.txt` pins, for this interpreter's version.

    Raises:
        Unavailable: the download failed, or uv is missing.
    """
    lock = LOCKS / f"{name}.txt"
    version = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return once(cache / "environments" / f"{name}-{version}-{tag}", lambda folder: _install(folder, lock))


def _install(folder: Path, lock: Path) -> None:
    """Install into an environment of its own: these packages need an older numpy than we do."""
    download([*uv(), "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)], needs="uv")
    command = [*uv(), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
    download([*command, "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(lock)], needs="uv")


def uv() -> list[str]:
    """How to call uv here.

    Raises:
        Unavailable: it is not installed.
    """
    if found := child_environment().get("UV") or shutil.which("uv"):
        return [found]  # uv tells what it runs where it is
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    raise Unavailable("uv is missing; install it with `pip install uv`.", code="uv_missing")


def download(command: Sequence[str], *, needs: str) -> None:
    """Run a command that downloads, up to three times.

    Raises:
        Unavailable: it failed each time; the message carries the end of what it said.
    """
    said = ""
    for _ in range(ATTEMPTS):
        result = subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False)
        if result.returncode == 0:
            return
        said = (result.stderr or result.stdout).strip()[-600:]
    raise Unavailable(
        f"The download with {needs} failed; check the network and the package index, then run it again. "
        f"It said: {said}",
        code="download_failed",
    )
