"""The Frechet distance of two samples, each taken as a normal distribution (Dowson and Landau 1982)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def frechet(a: Floats, b: Floats) -> float:
    """Return |mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)) of features (N, F) and (M, F), with covariances A, B.

    The estimate falls with the size of the samples: compare it only at equal sizes, beside real against real.
    """
    gap = a.mean(axis=0) - b.mean(axis=0)
    first, second = _covariance(a), _covariance(b)
    # A B has the eigenvalues of the symmetric A^(1/2) B A^(1/2), which none of the rounding can make complex.
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ second @ root)
    between = np.sqrt(np.maximum(product, 0)).sum()
    return float(max(0.0, gap @ gap + np.trace(first) + np.trace(second) - 2 * between))


def _covariance(x: Floats) -> Floats:
    """(N, F) -> (F, F)."""
    return np.atleast_2d(np.cov(x, rowvar=False))
