"""What others reached on the same data by the same protocol, as their papers or benchmarks report it."""

from dataclasses import dataclass
from typing import Any

from inference.quality.protocols import Protocol

Numbers = tuple[float | None, float | None]


@dataclass(frozen=True)
class Published:
    """A table of others.

    Attributes:
        shape: users, items and interactions of the data set, by which it is recognised whatever its name.
        metrics: of the columns.
        rows: of each model.
        source: of the rows.
    """

    shape: tuple[int, int, int]
    metrics: tuple[str, str]
    rows: dict[str, Numbers]
    source: str


TABLES = (
    Published(
        (6_022, 3_043, 895_699),
        ("recall@20", "ndcg@20"),
        {
            "NGCF": (0.2513, 0.2511),
            "LightGCN": (0.2576, 0.2427),
            "ENMF": (None, 0.2656),
            "UltraGCN": (0.2787, 0.2642),
            "SimpleX": (0.2802, 0.2670),
        },
        "RecZoo benchmark, MovieLens-1M",
    ),
    Published(
        (22_363, 12_101, 198_502),
        ("hr@10", "ndcg@10"),
        {
            "popularity": (0.0152, 0.0068),
            "GRU4Rec": (0.0283, 0.0137),
            "BERT4Rec": (0.0347, 0.0170),
            "SASRec": (0.0605, 0.0318),
            "S3-Rec": (0.0647, 0.0327),
        },
        "Zhou et al. 2020 (S3-Rec), Amazon Beauty",
    ),
)


def published(protocol: Protocol) -> list[dict[str, Any]]:
    """The rows of others for this data set; none where we know of none."""
    return [
        {"dataset": protocol.name, "model": model, "ours": False, "source": table.source}
        | {name: value for name, value in zip(table.metrics, numbers, strict=True) if value is not None}
        for table in TABLES
        if table.shape == protocol.shape
        for model, numbers in table.rows.items()
    ]
