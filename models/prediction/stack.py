"""A logistic regression on the logits of a model's parts: it weighs them and calibrates what comes out. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RIDGE = 1.0
"""Penalty on half the squared weights, on logits of unit spread: parts that say the same share the weight."""


def fit(logits: Floats, y: Floats, ridge: float = RIDGE) -> Floats:
    """Return the weights (1 + P,), intercept first, for logits (N, P) of cases that no part was trained on.

    Newton's method on the penalised likelihood, which is convex; some ten steps reach machine precision.
    """
    spread = logits.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    x = np.column_stack([np.ones(len(logits)), logits / spread])
    penalty = np.diag([0.0, *[ridge] * logits.shape[1]])
    weights = np.zeros(x.shape[1])
    for _ in range(100):
        p = sigmoid(x @ weights)
        slope = x.T @ (p - y) + penalty @ weights
        curve = (x * (p * (1 - p))[:, None]).T @ x + penalty + 1e-9 * np.eye(len(weights))
        step = np.linalg.solve(curve, slope)
        # A step of more than 5 is one that leaves the region where the quadratic is any good.
        weights -= step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    return np.concatenate([weights[:1], weights[1:] / spread])


def apply(weights: Floats, logits: Floats) -> Floats:
    """Return the stack's logits for (..., P)."""
    stacked: Floats = weights[0] + logits @ weights[1:]
    return stacked


def sigmoid(logit: Floats) -> Floats:
    """Return probabilities without overflow."""
    p: Floats = 0.5 * (1 + np.tanh(np.asarray(logit) / 2))
    return p
