"""A figure with the 95 % interval that resampling gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """`value` and the bounds `low` and `high` of its 95 % interval, rounded to four places."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, resampled: Floats) -> Self:
        """The interval between the percentiles of `resampled` (R,), the figure on each resample; NaN do not count."""
        kept = resampled[np.isfinite(resampled)]
        low, high = np.quantile(kept, [0.025, 0.975]) if len(kept) else (value, value)
        return cls(round(float(value), 4), round(float(low), 4), round(float(high), 4))
