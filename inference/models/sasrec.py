"""SASRec: a transformer reads the newest items of a history and says what comes next.

Training takes the extra `torch`; what is kept are plain tables, and the graph is written here, so serving takes nothing
more than for any other model. Only the order of a history counts, its weights do not.

Sources: Kang and McAuley 2018 (Self-attentive sequential recommendation), with one head and normalisation before each
part; trained with the cross entropy over all items, Klenitskiy and Vasilev 2023 (Turning dross into gold loss).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from inference.graph import Scoring
from inference.interactions import Float32Array, Int32Array, Interactions
from inference.model import Model
from schemas.errors import Invalid

FAR = -1e9
"""Added to the attention for what may not be looked at."""

EPSILON = 1e-8


@dataclass(frozen=True)
class SasrecParams:
    """The size of the network, and how it is trained.

    Args:
        window: newest items of a history that are read.
        width: numbers that describe an item.
        blocks: of attention and a feed-forward part, one after another.
        dropout: share of the numbers left out in training; in [0, 1).
        epochs: how often all histories are gone through.
        batch: histories in one step.
        rate: of learning, Adam's.
        seed: of the first weights, of the order of histories and of what is left out.
    """

    window: int = 50
    width: int = 64
    blocks: int = 2
    dropout: float = 0.3
    epochs: int = 30
    batch: int = 128
    rate: float = 0.001
    seed: int = 7

    def __post_init__(self) -> None:
        if min(self.window, self.width, self.blocks, self.epochs, self.batch) < 1:
            raise Invalid("window, width, blocks, epochs and batch must be 1 or more", code="model_params")
        if not 0 <= self.dropout < 1 or self.rate <= 0:
            raise Invalid("dropout must be in [0, 1), rate above 0", code="model_params")


@dataclass(frozen=True, eq=False)
class Network:
    """A network.

    Args:
        tables: its weights by name.
        window: items that it reads.
        blocks: that it has.
    """

    tables: Mapping[str, Float32Array]
    window: int
    blocks: int


def initial(n_items: int, params: SasrecParams) -> Network:
    """A network that has learnt nothing yet; the same for the same seed, whatever trains it."""
    chance = np.random.default_rng(params.seed)
    width = params.width

    def drawn(rows: int) -> Float32Array:
        return chance.normal(0.0, 1.0 / math.sqrt(width), (rows, width)).astype(np.float32)

    tables = {"items": drawn(n_items), "positions": drawn(params.window)}
    for block in range(params.blocks):
        tables |= {f"{name}_{block}": drawn(width) for name in ("query", "key", "value", "output", "inner", "outer")}
        tables |= {f"{name}_{block}": np.zeros(width, np.float32) for name in ("inner_bias", "outer_bias")}
    for norm in _norms(params.blocks):
        tables |= {f"{norm}_scale": np.ones(width, np.float32), f"{norm}_shift": np.zeros(width, np.float32)}
    return Network(tables, params.window, params.blocks)


def _norms(blocks: int) -> Iterator[str]:
    for block in range(blocks):
        yield from (f"before_attention_{block}", f"before_inner_{block}")
    yield "at_end"


def fit(dataset: Interactions, params: SasrecParams) -> Network:
    """Train; the same on every CPU of one kind. A GPU is used where there is one, and need not repeat itself exactly.

    Raises:
        Invalid: the extra `torch` is not installed, or nobody has two interactions.
    """
    try:
        from inference import transformer
    except ModuleNotFoundError as fault:
        raise Invalid(
            "sasrec is trained with PyTorch, which is not installed: add the extra with `uv sync --extra torch`",
            code="torch_missing",
        ) from fault
    windows = windows_of(dataset, params.window)
    if len(windows) == 0:
        raise Invalid("nobody has two interactions, so nothing follows anything: use more data", code="empty_dataset")
    network = initial(len(dataset.items), params)
    tables = transformer.trained(
        network.tables,
        windows,
        blocks=params.blocks,
        dropout=params.dropout,
        epochs=params.epochs,
        batch=params.batch,
        rate=params.rate,
        seed=params.seed,
    )
    return Network(tables, params.window, params.blocks)


def windows_of(dataset: Interactions, window: int) -> Int32Array:
    """Pieces of histories, newest first: the first column is what follows the others; -1 where there is nothing."""
    rows = dataset.chronological()
    items = dataset.item[rows]
    ends = np.cumsum(np.bincount(dataset.user, minlength=len(dataset.users))).tolist()
    found: list[Int32Array] = []
    for start, end in zip([0, *ends], ends, strict=False):
        for last in range(end, start + 1, -window):
            piece = items[max(start, last - window - 1) : last][::-1]
            found.append(np.pad(piece, (0, window + 1 - len(piece)), constant_values=-1))
    return np.array(found, np.int32).reshape(len(found), window + 1)


def scoring(weights: Network) -> Scoring:
    """Take the newest items, and read each history by itself.

    Every history goes through the same operations on tables of one size, whoever else is asked about and however it is
    padded: so its scores are the same to the last bit.
    """
    node = helper.make_node
    nodes = [
        node("Shape", ["history"], ["length"], start=1, end=2),
        node("Squeeze", ["length"], ["length_number"]),
        node("Range", ["zero", "length_number", "one_step"], ["places_in_time"]),
        node("Where", ["known", "places_in_time", "nowhere"], ["known_places"]),
        node("Pad", ["known_places", "room", "nowhere"], ["all_places"]),
        node("TopK", ["all_places", "window"], ["newest", "newest_at"], axis=1, largest=1, sorted=1),
        node("Pad", ["slots", "room", "n_items_there"], ["all_slots"]),
        node("GatherElements", ["all_slots", "newest_at"], ["newest_slots"], axis=1),
        node("Scan", ["newest_slots"], ["raw"], num_scan_inputs=1, body=_reading(weights)),
    ]
    items = np.pad(weights.tables["items"], ((0, 1), (0, 0)))
    width = items.shape[1]
    window = np.arange(weights.window)
    constants: dict[str, NDArray[Any]] = {
        "zero": np.array(0, np.int64),
        "one_step": np.array(1, np.int64),
        "nowhere": np.array(-1, np.int64),
        "window": np.array([weights.window], np.int64),
        "room": np.array([0, 0, 0, weights.window], np.int64),
        "n_items_there": np.array(len(items) - 1, np.int32),
        "item_vectors": items,
        "item_columns": items.T,
        "wide": np.array(math.sqrt(width), np.float32),
        "narrow": np.array(1.0 / math.sqrt(width), np.float32),
        "earlier": np.where(window >= window[:, np.newaxis], 0.0, FAR).astype(np.float32),
        "far": np.array(FAR, np.float32),
        "zeroth_row": np.array([0], np.int64),
        "row_axis": np.array([0], np.int64),
    }
    return Scoring(nodes, {**constants, **{name: t for name, t in weights.tables.items() if name != "items"}})


def _reading(weights: Network) -> Any:
    """The network for one history: its newest items in, a score for each item out."""
    node = helper.make_node
    nodes = [
        node("Gather", ["item_vectors", "read"], ["vectors"]),
        node("Mul", ["vectors", "wide"], ["scaled"]),
        node("Add", ["scaled", "positions"], ["x_0"]),
        node("Equal", ["read", "n_items"], ["is_none"]),
        node("Where", ["is_none", "far", "nothing"], ["hidden_keys"]),
        node("Add", ["earlier", "hidden_keys"], ["bias"]),
        *(one for block in range(weights.blocks) for one in _block(block)),
        *_normed(f"x_{weights.blocks}", "at_end", "read_out"),
        node("Gather", ["read_out", "zeroth_row"], ["now"]),
        node("MatMul", ["now", "item_columns"], ["every"]),
        node("Squeeze", ["every", "row_axis"], ["scores_of_all"]),
        node("Gather", ["is_none", "zeroth_row"], ["is_empty"]),
        node("Where", ["is_empty", "nothing", "scores_of_all"], ["said"]),
    ]
    read = helper.make_tensor_value_info("read", TensorProto.INT32, [weights.window])
    said = helper.make_tensor_value_info("said", TensorProto.FLOAT, [len(weights.tables["items"]) + 1])
    return helper.make_graph(nodes, "reading", [read], [said])


def _block(block: int) -> list[NodeProto]:
    node = helper.make_node
    b = f"_{block}"
    return [
        *_normed(f"x_{block}", f"before_attention{b}", f"h{b}"),
        node("MatMul", [f"h{b}", f"query{b}"], [f"q{b}"]),
        node("MatMul", [f"h{b}", f"key{b}"], [f"k{b}"]),
        node("MatMul", [f"h{b}", f"value{b}"], [f"v{b}"]),
        node("Transpose", [f"k{b}"], [f"kt{b}"], perm=[1, 0]),
        node("MatMul", [f"q{b}", f"kt{b}"], [f"likeness{b}"]),
        node("Mul", [f"likeness{b}", "narrow"], [f"scaled_likeness{b}"]),
        node("Add", [f"scaled_likeness{b}", "bias"], [f"allowed{b}"]),
        node("Softmax", [f"allowed{b}"], [f"attention{b}"], axis=-1),
        node("MatMul", [f"attention{b}", f"v{b}"], [f"looked_at{b}"]),
        node("MatMul", [f"looked_at{b}", f"output{b}"], [f"attended{b}"]),
        node("Add", [f"x_{block}", f"attended{b}"], [f"y{b}"]),
        *_normed(f"y{b}", f"before_inner{b}", f"f{b}"),
        node("MatMul", [f"f{b}", f"inner{b}"], [f"inner_sum{b}"]),
        node("Add", [f"inner_sum{b}", f"inner_bias{b}"], [f"inner_all{b}"]),
        node("Relu", [f"inner_all{b}"], [f"fired{b}"]),
        node("MatMul", [f"fired{b}", f"outer{b}"], [f"outer_sum{b}"]),
        node("Add", [f"outer_sum{b}", f"outer_bias{b}"], [f"outer_all{b}"]),
        node("Add", [f"y{b}", f"outer_all{b}"], [f"x_{block + 1}"]),
    ]


def _normed(vectors: str, norm: str, result: str) -> list[NodeProto]:
    inputs = [vectors, f"{norm}_scale", f"{norm}_shift"]
    return [helper.make_node("LayerNormalization", inputs, [result], axis=-1, epsilon=EPSILON)]


MODEL = Model("sasrec", 1, SasrecParams(), fit, scoring)
