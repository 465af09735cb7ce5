"""Nearest neighbours by Euclidean distance, exactly, in blocks that fit into memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BLOCK = 512


def distances(points: Floats, reference: Floats) -> Floats:
    """Return the distance of each point to each reference point, (N, P), (M, P) -> (N, M)."""
    squared = (points**2).sum(axis=1)[:, None] + (reference**2).sum(axis=1) - 2 * points @ reference.T
    root: Floats = np.sqrt(np.maximum(squared, 0.0))
    return root


def nearest(points: Floats, reference: Floats, k: int = 1) -> Floats:
    """Return the distance of each point to its k-th nearest neighbour in `reference`, (N, P), (M, P) -> (N,).

    Raises ValueError where the reference has fewer than k points.
    """
    if len(reference) < k:
        raise ValueError(f"{len(reference)} points have no neighbour number {k}")
    found = [
        np.partition(distances(points[at : at + BLOCK], reference), k - 1, axis=1)[:, k - 1]
        for at in range(0, len(points), BLOCK)
    ]
    return np.concatenate(found) if found else np.empty(0)


def radii(points: Floats, k: int) -> Floats:
    """Return the distance of each point to its k-th nearest among the others, (N, P) -> (N,)."""
    # A point is its own nearest neighbour, at distance 0.
    return nearest(points, points, k + 1)
