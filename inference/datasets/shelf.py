"""Where datasets are kept: Parquet and manifest beside the artifacts, in a folder named by the content's hash.

Different recipes may give the same rows, and share the folder then: each has its manifest and its features there.
"""

import io
from typing import Any

import fsspec
import polars as pl

from inference.datasets.dataset import Dataset
from infra.settings import Settings
from schemas.errors import NotFound, Unavailable

ROW_GROUP = 1 << 17
SHORTEST = 6
"""Letters of a hash that may stand for it."""


def keep(settings: Settings, dataset: Dataset) -> str:
    """Store a dataset; again is without effect. Returns the URL of its folder.

    Raises:
        Unavailable: the store cannot be written.
    """
    manifest = dataset.manifest
    folder = f"{_root(settings)}/{manifest.sha256}"
    fs, path = fsspec.core.url_to_fs(folder)
    said, recipe = manifest.as_json().encode(), manifest.recipe_sha256
    try:
        fs.makedirs(path, exist_ok=True)
        fs.pipe_file(f"{path}/part-00000.parquet", _parquet(dataset.rows))
        if dataset.features.width:
            fs.pipe_file(f"{path}/features-{recipe}.parquet", _parquet(dataset.features))
        fs.pipe_file(f"{path}/manifest-{recipe}.json", said)
        if not fs.exists(f"{path}/manifest.json"):
            fs.pipe_file(f"{path}/manifest.json", said)
    except OSError as fault:
        raise Unavailable(f"the dataset store at {folder} cannot be written: {fault}") from fault
    return folder


def kept(settings: Settings, name: str) -> bytes:
    """The manifest of a dataset that is kept, by the hash of its content or of its recipe; their beginning will do.

    Raises:
        NotFound: none begins so, or several do.
        Unavailable: the store cannot be read.
    """
    fs, root = fsspec.core.url_to_fs(_root(settings))
    try:
        found = _found(fs, root, name) if len(name) >= SHORTEST and set(name) <= set("0123456789abcdef") else []
        if len(found) == 1:
            content: bytes = fs.cat_file(found[0])
            return content
    except OSError as fault:
        raise Unavailable(f"the dataset store at {root} cannot be read: {fault}") from fault
    several = f"{len(found)} that are kept begin so, give more of the hash" if found else "none is kept under this hash"
    raise NotFound(
        f"there is no manifest {name}: it is no file, and {several}; `retrace dataset build` makes one",
        code="unknown_dataset",
    )


def _found(fs: Any, root: str, name: str) -> list[str]:
    """Files; the same recipe may have been kept with other rows, of before an erasure."""
    by_content = fs.glob(f"{root}/{name}*/manifest.json")
    return [*(by_content or fs.glob(f"{root}/*/manifest-{name}*.json"))]


def _root(settings: Settings) -> str:
    return f"{settings.artifact_url.rstrip('/')}/datasets"


def _parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer, row_group_size=ROW_GROUP)
    return buffer.getvalue()
