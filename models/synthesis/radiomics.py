"""Radiomic features of small greyscale images: first-order statistics, and texture from co-occurring grey levels.

Names and formulas as the Image Biomarker Standardisation Initiative gives them (Zwanenburg et al., Radiology 2020):
the whole image is the region, grey values are cut into LEVELS equal bins of 0 to 255, and the co-occurrence matrix is
symmetric, at distance 1, averaged over the four directions of a plane before its features are taken.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Images = NDArray[np.uint8]

LEVELS = 16
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Rows and columns to the neighbour: right, below, and both diagonals."""

FIRST_ORDER = ("mean", "variance", "skewness", "kurtosis", "p10", "median", "p90", "entropy", "uniformity")
TEXTURE = ("contrast", "dissimilarity", "inverse difference moment", "angular second moment", "joint entropy",
           "correlation")  # fmt: skip
NAMES = (*FIRST_ORDER, *TEXTURE)


def radiomics(images: Images) -> Floats:
    """Return the features of each image, uint8 (N, H, W) -> (N, 15), in the order of NAMES."""
    if not len(images):
        return np.empty((0, len(NAMES)))
    levels = images.astype(np.int64) * LEVELS // 256  # (N, H, W) 0 .. LEVELS - 1
    return np.column_stack([_first_order(images, levels), _texture(cooccurrence(levels))])


def cooccurrence(levels: NDArray[np.int64]) -> Floats:
    """Return how often two levels are neighbours, as shares, (N, H, W) -> (N, LEVELS, LEVELS)."""
    total = np.zeros((len(levels), LEVELS, LEVELS))
    for down, right in DIRECTIONS:
        here, there = _paired(levels, down, right)
        found = _histogram(here * LEVELS + there, LEVELS * LEVELS).reshape(total.shape)
        total += (found + found.transpose(0, 2, 1)) / (2 * here[0].size * len(DIRECTIONS))
    return total


def _paired(levels: NDArray[np.int64], down: int, right: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each pixel that has such a neighbour, and the neighbour, both (N, H', W')."""
    _, rows, columns = levels.shape
    here = levels[:, : rows - down, max(0, -right) : columns - max(0, right)]
    there = levels[:, down:, max(0, right) : columns - max(0, -right)]
    return here, there


def _first_order(images: Images, levels: NDArray[np.int64]) -> Floats:
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean, deviation = flat.mean(axis=1), flat.std(axis=1)
    # An image of one grey has no shape of its distribution: 0, as the initiative takes it.
    z = (flat - mean[:, None]) / np.where(deviation > 0, deviation, 1)[:, None]
    share = _histogram(levels, LEVELS) / flat.shape[1]
    quantiles = np.quantile(flat, (0.1, 0.5, 0.9), axis=1)
    kurtosis = np.where(deviation > 0, (z**4).mean(axis=1) - 3, 0.0)
    columns = (mean, deviation**2, (z**3).mean(axis=1), kurtosis, *quantiles, _entropy(share), (share**2).sum(axis=1))
    return np.column_stack(columns)


def _texture(matrix: Floats) -> Floats:
    """(N, LEVELS, LEVELS) -> (N, 6)."""
    i, j = np.indices((LEVELS, LEVELS))
    gap = np.abs(i - j)
    mean = (matrix * i).sum(axis=(1, 2))
    variance = (matrix * (i - mean[:, None, None]) ** 2).sum(axis=(1, 2))
    product = (matrix * (i - mean[:, None, None]) * (j - mean[:, None, None])).sum(axis=(1, 2))
    # One grey alone is fully correlated with itself.
    correlation = np.divide(product, variance, out=np.ones_like(product), where=variance > 0)
    sums = [(matrix * weight).sum(axis=(1, 2)) for weight in (gap**2, gap, 1 / (1 + gap**2), matrix)]
    return np.column_stack([*sums, _entropy(matrix.reshape(len(matrix), -1)), correlation])


def _histogram(codes: NDArray[np.int64], bins: int) -> Floats:
    """Return how often each code stands in each image, (N, ...) -> (N, bins)."""
    own = codes.reshape(len(codes), -1) + bins * np.arange(len(codes))[:, None]
    return np.bincount(own.ravel(), minlength=bins * len(codes)).reshape(len(codes), bins).astype(np.float64)


def _entropy(share: Floats) -> Floats:
    """Shannon entropy in bits, (N, B) -> (N,)."""
    found: Floats = -(share * np.log2(share, out=np.zeros_like(share), where=share > 0)).sum(axis=1)
    return found
