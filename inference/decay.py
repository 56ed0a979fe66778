"""Sums that halve with time, to the same last bit on every machine and whatever comes after.

The functions that mathematics libraries have for powers differ in the last bit from one processor to another. So time
is counted in 4 096 steps of a half-life, the powers of these come from a table that is computed in decimal numbers, and
whole half-lives change the exponent alone. A sum is kept as if all had happened at the beginning of its span of 512
half-lives, where no weight is too large for a float64; what stands in the span before is carried over once.
"""

from datetime import timedelta
from decimal import Decimal, localcontext
from functools import cache
from itertools import accumulate, repeat
from operator import mul
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from inference.feature import KEY

STEPS = 4096
SPAN = 512
"""Half-lives."""
MICROSECOND = timedelta(microseconds=1)


@cache
def powers() -> NDArray[np.float64]:
    """2 to the power of i / STEPS, for each i from 0 on, correctly rounded."""
    with localcontext() as context:
        context.prec = 40
        root = Decimal(2) ** (Decimal(1) / STEPS)
        return np.array([float(power) for power in accumulate(repeat(root, STEPS - 1), mul, initial=Decimal(1))])


def masses(events: pl.DataFrame, half_life: timedelta) -> pl.DataFrame:
    """After each event, the span of the key's clock and the key's sum in units of the beginning of that span."""
    span = _whole(events["clock"].to_numpy(), half_life) // SPAN
    whole, part = _whole(events["at"].to_numpy(), half_life), _part(events["at"].to_numpy(), half_life)
    weights = np.ldexp(powers()[part], _exponent(whole - span * SPAN))
    table = events.select(KEY).with_columns(span=pl.Series(span), weight=pl.Series(weights))
    table = table.with_columns(own=pl.col("weight").cum_sum().over(KEY, "span"))
    ends = table.group_by(KEY, "span").agg(before=pl.col("own").last()).with_columns(pl.col("span") + 1)
    carried = table.join(ends, on=[KEY, "span"], how="left", maintain_order="left")["before"].fill_null(0.0)
    return table.select("span", mass=pl.col("own") + carried * 2.0**-SPAN)


def decayed(states: pl.DataFrame, half_life: timedelta) -> pl.Series:
    """The sum of `masses` at the time of each row, which is no earlier than the key's clock; 0 where there is none."""
    span = states["span"].fill_null(0).to_numpy()
    whole, part = _whole(states["at"].to_numpy(), half_life), _part(states["at"].to_numpy(), half_life)
    mass = states["mass"].fill_null(0.0).to_numpy()
    return pl.Series(np.ldexp(mass / powers()[part], _exponent(span * SPAN - whole)))


def _whole(at: NDArray[Any], half_life: timedelta) -> NDArray[np.int64]:
    return at // (half_life // MICROSECOND)


def _part(at: NDArray[Any], half_life: timedelta) -> NDArray[np.int64]:
    length = half_life // MICROSECOND
    return at % length * STEPS // length


def _exponent(whole: NDArray[np.int64]) -> NDArray[np.int32]:
    return np.clip(whole, -4000, 4000).astype(np.int32)
