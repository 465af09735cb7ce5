"""Kernel inception distance, on whatever features it is given (Binkowski et al., "Demystifying MMD GANs", ICLR 2018).

The squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, by its unbiased estimate, which is about 0 for
two samples of one distribution and may be below it. Only distances on the same features compare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCKS = 20
BLOCK = 1000
"""Blocks, and cases of each sample in one; half of the cases where that is fewer."""


@dataclass(frozen=True)
class Kid:
    """Mean over `blocks` blocks of `size` cases of each sample, and their standard deviation `spread`."""

    value: float
    spread: float
    blocks: int
    size: int


def kid(a: Floats, b: Floats, seed: int = 0, blocks: int = BLOCKS, size: int = BLOCK) -> Kid:
    """Return the distance of two samples of features, (N, F) and (M, F). Raises ValueError for fewer than 10 cases."""
    least = min(len(a), len(b))
    if least < 10:
        raise ValueError(f"a distance of samples needs 10 cases of each or more, not {least}")
    size = min(size, least // 2)
    random = np.random.default_rng(seed)
    drawn = [
        mmd2(a[random.choice(len(a), size, replace=False)], b[random.choice(len(b), size, replace=False)])
        for _ in range(blocks)
    ]
    return Kid(float(np.mean(drawn)), float(np.std(drawn)), blocks, size)


def mmd2(a: Floats, b: Floats) -> float:
    """Return the unbiased estimate of the squared discrepancy of (N, F) and (M, F), equation 4 of the paper."""
    n, m = len(a), len(b)
    within_a, within_b = _kernel(a, a), _kernel(b, b)
    alike = (within_a.sum() - np.trace(within_a)) / (n * (n - 1)) + (within_b.sum() - np.trace(within_b)) / (
        m * (m - 1)
    )
    return float(alike - 2 * _kernel(a, b).mean())


def _kernel(a: Floats, b: Floats) -> Floats:
    """(N, F), (M, F) -> (N, M)."""
    values: Floats = (a @ b.T / a.shape[1] + 1) ** 3
    return values
