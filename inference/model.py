"""What every model is: a frozen value that holds pure functions, found by discovery in `inference/models`.

A fit reads no clock and no randomness: the same interactions and parameters give the same artifact, byte for byte.
BLAS is held to one thread meanwhile, because the order of its sums depends on the number of threads. What is left
is the processor: BLAS chooses its kernels by it, so a closed-form fit repeats exactly on machines of one kind.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from inference.artifact import Metadata
from inference.golden import with_golden
from inference.graph import Scoring, assemble
from inference.interactions import Interactions
from schemas.errors import Invalid

P = TypeVar("P")
W = TypeVar("W")


@dataclasses.dataclass(frozen=True)
class Model(Generic[P, W]):
    """One kind of model.

    Args:
        name: unique, kebab-case.
        version: of this code; raise it when the same data and parameters would give other bytes.
        params: the default parameters, a frozen dataclass of numbers whose docstring says what each does.
        fit: learns; pure and deterministic.
        scoring: the part of the ONNX graph that turns a history into a score per item.
        decay: how much less an interaction counts than the one after it, at serving; 1 counts all alike.
    """

    name: str
    version: int
    params: P
    fit: Callable[[Interactions, P], W]
    scoring: Callable[[W], Scoring]
    decay: Callable[[P], float] = lambda _: 1.0

    def configure(self, values: Mapping[str, Any]) -> P:
        """The default parameters with `values` put over them.

        Raises:
            Invalid: a name is unknown, or a value has the wrong type or range.
        """
        defaults: dict[str, Any] = dataclasses.asdict(self.params)  # type: ignore[call-overload]
        faults = [f for name, value in values.items() if (f := _fault(name, value, defaults))]
        if faults:
            raise Invalid(f"model {self.name}: {'; '.join(faults)}", code="model_params")
        numbers = {name: type(defaults[name])(value) for name, value in values.items()}
        return dataclasses.replace(self.params, **numbers)  # type: ignore[type-var]

    def to_onnx(self, weights: W, items: Sequence[str], k: int, params: P) -> bytes:
        """The whole artifact: graph, weights, vocabulary and golden requests in one ONNX file.

        Args:
            weights: what `fit` returned.
            items: the vocabulary, by item index.
            k: length of an answer; no more than there are items are ever given.
            params: what `fit` was given; kept in the metadata.
        """
        metadata = Metadata(
            model=self.name,
            model_version=self.version,
            params=dataclasses.asdict(params),  # type: ignore[call-overload]
            items=tuple(items),
            decay=self.decay(params),
        )
        graph = assemble(self.scoring(weights), n_items=len(items), k=min(k, len(items)))
        return with_golden(graph, metadata)

    def train(self, dataset: Interactions, params: P, k: int) -> bytes:
        """Fit and export; the way from a dataset to the bytes that are hashed, stored and deployed.

        Raises:
            Invalid: the dataset is empty, too large for this model, or has weights that are no numbers; `k` is below 1.
        """
        if len(dataset) == 0:
            raise Invalid("the dataset has no interactions: widen its range or filters", code="empty_dataset")
        if not np.isfinite(dataset.weight).all():
            raise Invalid("the dataset has weights that are no numbers: filter them out", code="dataset_weights")
        if k < 1:
            raise Invalid(f"k must be 1 or more, not {k}", code="model_params")
        with threadpool_limits(limits=1):
            return self.to_onnx(self.fit(dataset, params), dataset.items, k, params)


def _fault(name: str, value: object, defaults: Mapping[str, Any]) -> str | None:
    if name not in defaults:
        return f"unknown parameter {name!r}, known are {', '.join(defaults)}"
    whole = isinstance(defaults[name], int)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return f"{name} must be {'a whole number' if whole else 'a number'}, not {value!r}"
    return None
