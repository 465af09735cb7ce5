"""From a drawn course to measurements as the data set writes them, in its own units, and from those to exports.

A course says for each bin of time whether a variable was measured and what its mean was. How many measurements a bin
then holds, how far they scatter in it, and to how many decimals they are written is fitted to the training part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.canonical import SequenceSet
from models.prediction.encoding import Batch, Encoder, Scale

Floats = NDArray[np.float64]

MOST_IN_A_BIN = 12
MOST_DIGITS = 3
MOST_LEVELS = 10
"""Different values of a static value up to which it is a code and not a quantity."""

MINUTE = 1 / 60


@dataclass(frozen=True)
class Habit:
    """How one variable is measured: `counts`[k] the share of measured bins with k + 1 measurements, `scatter` their
    standard deviation within a bin in z-scores, `digits` the decimals that it is written with.
    """

    counts: tuple[float, ...]
    scatter: float
    digits: int


@dataclass(frozen=True)
class Emission:
    """The habits of each variable; `digits` of the static values, and the `levels` (raw) that one may have, or none."""

    habits: tuple[Habit, ...]
    digits: tuple[int, ...]
    levels: tuple[tuple[float, ...], ...]

    @classmethod
    def fit(cls, data: SequenceSet, rows: NDArray[np.intp], encoder: Encoder) -> Emission:
        """Fit to the subjects at `rows`."""
        part, batch = data.take(rows), encoder.encode_set(data, rows)
        habits = tuple(
            _habit(batch, code, part.value[part.variable == code].astype(np.float64))
            for code in range(len(data.variables))
        )
        static = [column[np.isfinite(column)].astype(np.float64) for column in part.static.T]
        distinct = [np.unique(column) for column in static]
        levels = tuple(tuple(one.tolist()) if len(one) <= MOST_LEVELS else () for one in distinct)
        return cls(habits, tuple(digits(column) for column in static), levels)

    def as_dict(self) -> dict[str, Any]:
        """As a manifest keeps it."""
        return asdict(self)

    @classmethod
    def read(cls, own: Mapping[str, Any]) -> Emission:
        """What `as_dict` wrote; raises KeyError or TypeError where it is none."""
        habits = tuple(Habit(tuple(one["counts"]), one["scatter"], one["digits"]) for one in own["habits"])
        return cls(habits, tuple(own["digits"]), tuple(tuple(one) for one in own["levels"]))

    def measurements(
        self, value: Floats, mask: Floats, encoder: Encoder, random: np.random.Generator
    ) -> tuple[Floats, NDArray[np.int64], Floats]:
        """Return times, variables and raw values (M,) of one course (T, V), by time and variable."""
        assert encoder.horizon is not None
        width = encoder.horizon / encoder.bins
        bins, codes = np.nonzero(mask)
        counts = np.array([1 + _drawn(self.habits[code].counts, random.random()) for code in codes], dtype=np.int64)
        cell = np.repeat(np.arange(len(bins)), counts)
        scatter = np.array([self.habits[code].scatter for code in codes])
        noise = random.standard_normal(len(cell)) * scatter[cell]
        # The mean of a bin is the course's: what it scatters is centred.
        noise -= (np.bincount(cell, noise, minlength=len(bins)) / np.maximum(counts, 1))[cell]
        scaled = value[bins, codes][cell] + np.where(counts[cell] > 1, noise, 0.0)
        time = np.round((bins[cell] + random.random(len(cell))) * width / MINUTE) * MINUTE
        time = np.clip(np.round(time, 4), 0, encoder.horizon)
        raw = np.empty(len(cell))
        for code, (scale, habit) in enumerate(zip(encoder.variables, self.habits, strict=True)):
            own = codes[cell] == code
            raw[own] = written(scale, scaled[own], habit.digits)
        order = np.lexsort((raw, codes[cell], time))
        return time[order], codes[cell][order], raw[order]

    def statics(self, static: Floats, known: Floats, encoder: Encoder) -> Floats:
        """Return raw static values (S,), NaN where not known."""
        raw = np.full(len(static), np.nan)
        for column in np.flatnonzero(known > 0):
            scale, levels = encoder.statics[column], np.array(self.levels[column])
            value = float(written(scale, static[column], self.digits[column]))
            raw[column] = levels[np.abs(levels - value).argmin()] if len(levels) else value
        return raw


def written(scale: Scale, scaled: Any, decimals: int) -> Floats:
    """Return raw values of z-scores, within the variable's limits, with so many decimals."""
    raw: Floats = np.clip(np.round(scale.undo(scaled), decimals), scale.low, scale.high)
    return raw


def digits(value: Floats) -> int:
    """Return the decimals that all but 2 % of the values need, at most MOST_DIGITS."""
    for count in range(MOST_DIGITS):
        # Stored in single precision: a written decimal is met up to that.
        near = np.abs(value - np.round(value, count)) <= 1e-6 * np.maximum(1, np.abs(value))
        if not len(value) or near.mean() >= 0.98:
            return count
    return MOST_DIGITS


def _habit(batch: Batch, code: int, raw: Floats) -> Habit:
    count = batch.count[:, :, code].numpy()
    held = np.minimum(count[count > 0].astype(np.int64), MOST_IN_A_BIN)
    shares = np.bincount(held, minlength=2)[1:] / max(len(held), 1)
    several = count > 1
    span = (batch.high - batch.low)[:, :, code].numpy()[several]
    number = np.minimum(count[several].astype(np.int64), MOST_IN_A_BIN)
    # The range of n normal values is _RANGE[n] deviations in the mean; no slip of the pen moves the median.
    scatter = float(np.median(span / _RANGE[number])) if len(span) else 0.0
    return Habit(tuple(round(float(one), 4) for one in shares), round(scatter, 4), digits(raw))


_RANGE = np.array([1, 1, 1.128, 1.693, 2.059, 2.326, 2.534, 2.704, 2.847, 2.970, 3.078, 3.173, 3.258])
"""Expected range of n standard normal values (Tippett 1925), by n."""


def _drawn(shares: Sequence[float], u: float) -> int:
    """The position at which the cumulated shares pass `u`."""
    return min(int(np.searchsorted(np.cumsum(shares), u, side="right")), len(shares) - 1)
