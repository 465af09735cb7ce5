"""How the parts are put together: one weight each, chosen on the validation part, and a calibration of every target."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.prediction import stack

Floats = NDArray[np.float64]

STEP = 10
"""Weights are tried in steps of a tenth: a validation part of some hundred molecules says no more."""

FEWEST = 10
"""Validation molecules of each class below which a target is calibrated with all the others together."""


@dataclass(frozen=True)
class Blending:
    """`weights` (P,) over the parts, not negative, together 1; `calibration` (T, 2): intercept and slope."""

    weights: Floats
    calibration: Floats

    def probability(self, logits: Floats) -> Floats:
        """Calibrated probabilities (N, T) of the parts' logits (P, N, T)."""
        return self.calibrated(np.tensordot(self.weights, logits, axes=1))

    def calibrated(self, logit: Floats) -> Floats:
        """Probabilities of (..., N, T) logits."""
        return stack.sigmoid(self.calibration[:, 0] + self.calibration[:, 1] * logit)


def fit(logits: Floats, labels: NDArray[np.float32]) -> Blending:
    """From the parts' logits (P, N, T) of molecules that none was trained on, and labels (N, T), NaN where unknown.

    Of all weights in steps of a tenth, those with the least cross-entropy once the blend is calibrated as a whole.
    """
    tried = [np.array(one) / STEP for one in itertools.product(range(STEP + 1), repeat=len(logits)) if sum(one) == STEP]
    best = min(tried, key=lambda weights: _loss(np.tensordot(weights, logits, axes=1), labels))
    return Blending(best, calibrate(np.tensordot(best, logits, axes=1), labels))


def calibrate(logit: Floats, labels: NDArray[np.float32]) -> Floats:
    """Intercept and slope per target (T, 2): Platt's logistic regression, its slope held at 0 or above."""
    known = ~np.isnan(labels)
    together = _platt(logit[known], labels[known])
    found = np.tile(together, (labels.shape[1], 1))
    for column in range(labels.shape[1]):
        rows = known[:, column]
        ones = int((labels[rows, column] > 0).sum())
        if min(ones, rows.sum() - ones) >= FEWEST:
            found[column] = _platt(logit[rows, column], labels[rows, column])
    return found


def _platt(logit: Floats, label: NDArray[np.float32]) -> Floats:
    if len(np.unique(label)) < 2:
        return np.array([0.0, 1.0])
    intercept, slope = stack.fit(logit[:, None], label.astype(np.float64))
    return np.array([intercept, max(float(slope), 0.0)])


def _loss(logit: Floats, labels: NDArray[np.float32]) -> float:
    known = ~np.isnan(labels)
    intercept, slope = _platt(logit[known], labels[known])
    p = np.clip(stack.sigmoid(intercept + slope * logit[known]), 1e-7, 1 - 1e-7)
    y = labels[known]
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())
