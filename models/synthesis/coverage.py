"""Density and coverage (Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020).

Around each real case lies a ball that reaches to its k-th nearest real neighbour. Density: how many balls a generated
case lies in, over k (fidelity, about 1 for equal distributions). Coverage: the share of balls with a generated case in
them (diversity, 0 to 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.synthesis.neighbours import distances, radii

Floats = NDArray[np.float64]

K = 5


@dataclass(frozen=True)
class Coverage:
    """Density and coverage of a sample; `expected` is the coverage of equal distributions at these sizes."""

    density: float
    coverage: float
    expected: float
    k: int


def coverage(generated: Floats, real: Floats, k: int = K) -> Coverage:
    """Return both figures of generated features (M, F) about real ones (N, F); raises ValueError where N <= k."""
    inside = distances(generated, real) <= radii(real, k)  # (M, N)
    density = inside.sum() / (k * len(generated))
    return Coverage(float(density), float(inside.any(axis=0).mean()), expected(len(real), len(generated), k), k)


def expected(real: int, generated: int, k: int = K) -> float:
    """Return the mean coverage where both samples are of one distribution (lemma 2 of the paper).

    A ball is empty where the k nearest of the other N - 1 + M cases are all real.
    """
    steps = np.arange(1, k + 1)
    return float(1 - np.prod((real - steps) / (real + generated - steps)))
