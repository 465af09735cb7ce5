"""How the parts are put together: one weight each, chosen on the validation part, and a line of every target that makes
its answer of the weighted score (`models.screening.outcome`)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.screening.outcome import Outcome, Scale

Floats = NDArray[np.float64]

STEP = 10
"""Weights are tried in steps of a tenth: a validation part of some hundred molecules says no more."""

FEWEST = 10
"""Validation molecules (of each class) below which a target is calibrated with all the others together."""


@dataclass(frozen=True)
class Blending:
    """`weights` (P,) over the parts, not negative, together 1; `calibration` (T, 2): intercept and slope."""

    weights: Floats
    calibration: Floats
    outcome: Outcome

    def answer(self, scores: Floats) -> Floats:
        """Calibrated answers (N, T) to the parts' scores (P, N, T)."""
        return self.calibrated(np.tensordot(self.weights, scores, axes=1))

    def calibrated(self, score: Floats) -> Floats:
        """Answers to (..., N, T) scores."""
        return calibrated(self.calibration, score, self.outcome)


def fit(scores: Floats, labels: NDArray[np.float32], outcome: Outcome, scale: Scale) -> Blending:
    """From the parts' scores (P, N, T) of molecules that none was trained on, and labels (N, T), NaN where unknown.

    Of all weights in steps of a tenth, those with the least loss once the blend is calibrated as a whole.
    """
    wanted = scale.standardised(labels)
    tried = [np.array(one) / STEP for one in itertools.product(range(STEP + 1), repeat=len(scores)) if sum(one) == STEP]
    best = min(tried, key=lambda weights: loss(np.tensordot(weights, scores, axes=1), wanted, outcome))
    return Blending(best, calibrate(np.tensordot(best, scores, axes=1), labels, outcome, scale), outcome)


def calibrate(score: Floats, labels: NDArray[np.float32], outcome: Outcome, scale: Scale) -> Floats:
    """Intercept and slope per target (T, 2), the slope held at 0 or above; they end in the targets' units."""
    wanted = scale.standardised(labels)
    known = ~np.isnan(wanted)
    found = np.tile(outcome.line(score[known], wanted[known]), (labels.shape[1], 1))
    for column in range(labels.shape[1]):
        rows = known[:, column]
        if outcome.known(labels[rows, column]) >= FEWEST:
            found[column] = outcome.line(score[rows, column], wanted[rows, column])
    return scale.in_unit(found)


def calibrated(calibration: Floats, score: Floats, outcome: Outcome) -> Floats:
    """Answers to (..., N, T) scores by lines (T, 2)."""
    return outcome.linked(calibration[:, 0] + calibration[:, 1] * score)


def loss(score: Floats, wanted: Floats, outcome: Outcome) -> float:
    """Of scores (N, T) and standardised labels, all targets on one line."""
    known = ~np.isnan(wanted)
    intercept, slope = outcome.line(score[known], wanted[known])
    return outcome.loss(outcome.linked(intercept + slope * score[known]), wanted[known])
