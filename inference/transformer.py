"""Training SASRec with PyTorch, which is an extra: nothing else imports this module."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from inference.interactions import Float32Array, Int32Array
from inference.models.sasrec import EPSILON, FAR
from inference.training.told import epoch

IGNORED = -100


def trained(
    tables: Mapping[str, Float32Array],
    windows: Int32Array,
    *,
    blocks: int,
    dropout: float,
    epochs: int,
    batch: int,
    rate: float,
    seed: int,
) -> dict[str, Float32Array]:
    """Go through all windows again and again.

    Args:
        tables: to begin with.
        windows: pieces of histories, newest first, see `sasrec.windows_of`.

    Source: Kingma and Ba 2015 (Adam).
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(device == "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums depends on it
    try:
        weights = {name: torch.tensor(table, device=device, requires_grad=True) for name, table in tables.items()}
        data = torch.tensor(windows, device=device, dtype=torch.long)
        adam = torch.optim.Adam(list(weights.values()), lr=rate, betas=(0.9, 0.98))
        chance = np.random.default_rng(seed)
        for done in range(1, epochs + 1):
            order = torch.tensor(chance.permutation(len(windows)), device=device)
            for start in range(0, len(windows), batch):
                adam.zero_grad()
                _loss(weights, data[order[start : start + batch]], blocks, dropout).backward()
                adam.step()
            epoch(done, epochs)
        return {name: table.detach().cpu().numpy().astype(np.float32) for name, table in weights.items()}
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)


def _loss(weights: Mapping[str, Any], windows: Any, blocks: int, dropout: float) -> Any:
    """Cross entropy of what came next at every place."""
    said = read(weights, windows[:, 1:], blocks, dropout)
    wanted = torch.where(windows[:, 1:] >= 0, windows[:, :-1], IGNORED)
    logits = said @ weights["items"].T
    return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)


def read(weights: Mapping[str, Any], windows: Any, blocks: int, dropout: float = 0.0) -> Any:
    """The network: newest items first, -1 for none; a vector for each place."""
    width, size = weights["items"].shape[1], windows.shape[1]
    none = len(weights["items"])
    vectors = torch.cat([weights["items"], weights["items"].new_zeros(1, width)])
    x = functional.embedding(torch.where(windows >= 0, windows, none), vectors) * math.sqrt(width)
    x = _dropped(x + weights["positions"], dropout)
    place = torch.arange(size, device=windows.device)
    bias = torch.where(place[None, :] >= place[:, None], 0.0, FAR) + torch.where(windows >= 0, 0.0, FAR)[:, None, :]
    for block in range(blocks):
        x = _block(weights, x, bias, block, dropout)
    return _normed(weights, x, "at_end")


def _block(weights: Mapping[str, Any], x: Any, bias: Any, block: int, dropout: float) -> Any:
    h = _normed(weights, x, f"before_attention_{block}")
    query, key, value = (h @ weights[f"{name}_{block}"] for name in ("query", "key", "value"))
    attention = torch.softmax(query @ key.transpose(1, 2) / math.sqrt(x.shape[2]) + bias, dim=-1)
    x = x + _dropped(attention @ value @ weights[f"output_{block}"], dropout)
    f = _normed(weights, x, f"before_inner_{block}")
    fired = torch.relu(f @ weights[f"inner_{block}"] + weights[f"inner_bias_{block}"])
    return x + _dropped(fired @ weights[f"outer_{block}"] + weights[f"outer_bias_{block}"], dropout)


def _normed(weights: Mapping[str, Any], x: Any, norm: str) -> Any:
    scale, shift = weights[f"{norm}_scale"], weights[f"{norm}_shift"]
    return functional.layer_norm(x, (x.shape[-1],), scale, shift, EPSILON)


def _dropped(x: Any, dropout: float) -> Any:
    return functional.dropout(x, dropout) if dropout else x
