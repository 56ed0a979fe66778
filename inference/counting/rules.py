"""What follows each item of a dataset, as shares: the counts that are kept live, counted from scratch."""

import numpy as np
import scipy.sparse as sp

from inference.counting.pairs import SHIFT, counted
from inference.interactions import Interactions
from inference.neighbours import Neighbours, strongest


def followers(dataset: Interactions, neighbours: int) -> Neighbours:
    """The share of each item in what follows an item; the largest are kept."""
    rows = dataset.chronological()
    counts = counted(dataset.user[rows], dataset.item[rows])
    first, second = counts.keys >> SHIFT, counts.keys & ((1 << SHIFT) - 1)
    totals = np.bincount(first, counts.counts, minlength=len(dataset.items))
    shape = (len(dataset.items), len(dataset.items))
    return strongest(sp.coo_array((counts.counts / totals[first], (first, second)), shape=shape), neighbours)
