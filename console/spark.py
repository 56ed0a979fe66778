"""`retrace dataset spark`: the rows of a manifest as Spark finds them, and a model that it fits on them."""

import asyncio
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from console.output import grid
from inference.datasets.again import check
from inference.datasets.manifest import Manifest
from inference.training.evaluation import Evaluation
from inference.training.fitting import numbers
from infra.settings import Settings
from infra.spark import session
from schemas.errors import Invalid

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from inference.spark.content import Written


@dataclass(frozen=True)
class Wanted:
    """What Spark is to do.

    Attributes:
        out: new folder for the rows, and the model; None keeps neither.
        als: whether to fit ALS as well.
        params: of ALS, by name.
        k: items per answer of the model, and places that are measured.
        cores: threads that work at once.
        heap_mb: most that the Java process keeps on its heap.
    """

    out: Path | None
    als: bool
    params: Mapping[str, Any]
    k: int
    cores: int
    heap_mb: int


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        identical: whether Spark's rows are those of the manifest.
    """

    manifest: Manifest
    rows: int
    sha256: str
    identical: bool
    metrics: Mapping[str, Evaluation] = field(default_factory=dict)
    artifact: bytes | None = None

    @property
    def verdict(self) -> str:
        """What is to be said of it, in a sentence."""
        if self.identical:
            return f"identical: Spark found the same {self.rows:,} rows, content {self.sha256}"
        return (
            f"NOT identical: Spark found {self.rows:,} rows with content {self.sha256}, the manifest says "
            f"{self.manifest.rows:,} with {self.manifest.sha256}; `retrace dataset verify` tells why"
        )

    def as_json(self) -> str:
        """For other programs."""
        metrics = {name: one.as_dict() for name, one in self.metrics.items()}
        said = {"identical": self.identical, "verdict": self.verdict, "rows": self.rows, "sha256": self.sha256}
        return json.dumps({**said, "metrics": metrics}, indent=2)

    def table(self) -> Table:
        """The models beside each other."""
        places = next(iter(self.metrics.values())).k
        table = grid("model", f"recall@{places}", f"ndcg@{places}", f"hit rate@{places}", "coverage", "novelty")
        for name, one in self.metrics.items():
            found = one.overall
            measures = (found.recall, found.ndcg, found.hit_rate, found.coverage, found.novelty)
            table.add_row(name, *(f"{measure:.4f}" for measure in measures))
        return table


def params(texts: Iterable[str]) -> dict[str, int | float]:
    """Hyper-parameters of a command line, each `NAME=VALUE`.

    Raises:
        Invalid: one is written otherwise, or is no number.
    """
    pairs = [text.partition("=") for text in texts]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise Invalid(f"--param takes NAME=VALUE, not '{wrong[0]}'")
    return numbers({name: value for name, _, value in pairs})


async def on_spark(settings: Settings, name: str, manifest: Manifest, asked: Wanted) -> Outcome:
    """Let Spark read what the manifest names, compare, and fit.

    Raises:
        Gone: part of its ranges is no longer in the log, or not yet.
        Invalid: it is of another tenant, or there is too little data for ALS.
        Incompatible, Unavailable: the log cannot be read, or Spark does not start.
    """
    await check(settings, name, manifest)
    with tempfile.TemporaryDirectory(prefix="retrace-spark-rows-") as aside:
        folder = Path(aside)
        with session(settings, cores=asked.cores, heap_mb=asked.heap_mb) as spark:
            found = await _rows(spark, settings, manifest, (asked.out or folder) / "rows")
            outcome = Outcome(manifest, found.rows, found.sha256, found.agrees(manifest))
            if asked.als:
                outcome = await asyncio.to_thread(_fitted, spark, outcome, found, asked, folder)
    if asked.out is not None:
        _keep(outcome, asked.out)
    return outcome


async def _rows(spark: "SparkSession", settings: Settings, manifest: Manifest, folder: Path) -> "Written":
    from inference.spark.content import written
    from inference.spark.log import Log
    from inference.spark.rows import Rows

    table = await Rows(Log(spark, settings), manifest).table()
    return await asyncio.to_thread(written, table, folder)


def _fitted(spark: "SparkSession", outcome: Outcome, found: "Written", asked: Wanted, folder: Path) -> Outcome:
    from inference.datasets.dataset import Dataset
    from inference.spark import als
    from inference.spark.beside import beside

    params = als.configured(asked.params)
    artifact = als.artifact(als.fit(spark.read.parquet(str(found.folder)), params), params, asked.k)
    data = Dataset(outcome.manifest, found.frame()).interactions
    metrics = beside(spark, data, params, asked.k, folder / "train")
    return Outcome(outcome.manifest, found.rows, found.sha256, outcome.identical, metrics, artifact)


def _keep(outcome: Outcome, out: Path) -> None:
    if outcome.artifact is not None:
        (out / "model.onnx").write_bytes(outcome.artifact)
    (out / "manifest.json").write_text(outcome.manifest.as_json())
