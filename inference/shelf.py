"""Where datasets are kept: Parquet and manifest beside the artifacts, in a folder named by the content's hash."""

import io

import fsspec

from inference.dataset import Dataset
from infra.settings import Settings
from schemas.errors import Unavailable

ROW_GROUP = 1 << 17


def keep(settings: Settings, dataset: Dataset) -> str:
    """Store a dataset; again is without effect. Returns the URL of its folder.

    Raises:
        Unavailable: the store cannot be written.
    """
    folder = f"{settings.artifact_url.rstrip('/')}/datasets/{dataset.manifest.sha256}"
    fs, path = fsspec.core.url_to_fs(folder)
    buffer = io.BytesIO()
    dataset.rows.write_parquet(buffer, row_group_size=ROW_GROUP)
    try:
        fs.makedirs(path, exist_ok=True)
        fs.pipe_file(f"{path}/part-00000.parquet", buffer.getvalue())
        fs.pipe_file(f"{path}/manifest.json", dataset.manifest.as_json().encode())
    except OSError as fault:
        raise Unavailable(f"the dataset store at {folder} cannot be written: {fault}") from fault
    return folder
