"""Prediction intervals of numbers by split conformal prediction (Vovk et al., Algorithmic Learning in a Random World,
2005): as wide to each side as the errors on molecules that the model was not fitted to."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.screening import blending
from models.screening.outcome import Outcome, Scale

Floats = NDArray[np.float64]

LEVEL = 0.9
"""Share of new molecules, like those of the validation part, whose measured value the interval is to hold."""

FOLDS = 5
FEWEST = 20
"""Measured validation molecules below which a target has no interval."""


def half_widths(scores: Floats, labels: NDArray[np.float32], outcome: Outcome, scale: Scale) -> Floats:
    """How far an interval reaches to each side of a value, in the target's unit, (T,); NaN where too few are known.

    From scores (P, N, T) and labels (N, T) of the validation part. The blend is fitted to four fifths of it and errs on
    the last, in turn: errors on what it was fitted to would be too small.
    """
    wrong = np.full(labels.shape, np.nan)
    fold = np.arange(len(labels)) % FOLDS
    for number in range(FOLDS):
        rest, own = fold != number, fold == number
        if own.any() and rest.any():
            fitted = blending.fit(scores[:, rest], labels[rest], outcome, scale)
            wrong[own] = np.abs(fitted.answer(scores[:, own]) - labels[own])
    return np.array([_quantile(column[~np.isnan(column)]) for column in wrong.T])


def _quantile(wrong: Floats) -> float:
    """The error that the share LEVEL stays below, counted as if the new molecule were one of them."""
    place = math.ceil(LEVEL * (len(wrong) + 1))
    return float(np.sort(wrong)[place - 1]) if len(wrong) >= FEWEST and place <= len(wrong) else math.nan
