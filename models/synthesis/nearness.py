"""Are generated pictures copies? Distances to the nearest training picture, against those of pictures held out.

A screen, not a proof of privacy: it finds a generator that repeats what it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.medmnist import Images

Distances = NDArray[np.float64]
"""Root mean square difference in grey values (0 to 255) to the nearest picture of another set, (N,)."""


def nearest(images: Images, reference: Images, block: int = 256) -> Distances:
    """Return the distance of each of `images` (N, H, W) to its nearest neighbour in `reference` (M, H, W)."""
    there = reference.reshape(len(reference), -1).astype(np.float64)
    squares = (there**2).sum(axis=1)
    found = []
    for at in range(0, len(images), block):
        here = images[at : at + block].reshape(-1, there.shape[1]).astype(np.float64)
        # Sums of whole numbers below 2**53 are exact, so a copy is at distance 0 and not at a rounding error.
        squared = (here**2).sum(axis=1)[:, None] + squares - 2 * here @ there.T
        found.append(np.sqrt(squared.min(axis=1) / there.shape[1]))
    return np.concatenate(found)


@dataclass(frozen=True)
class Nearness:
    """Distances in grey values: of `samples` generated pictures and of `held_out` real ones to the training set."""

    samples: int
    sample_minimum: float
    sample_median: float
    held_out: int
    held_out_minimum: float
    held_out_low: float
    held_out_median: float
    nearer_than_low: float

    @property
    def passed(self) -> bool:
        """Whether no picture is a copy and at most 5 % are nearer than the mark that 1 % of held-out ones pass."""
        return self.sample_minimum > 0 and self.nearer_than_low <= 0.05


def compare(generated: Images, held_out: Images, training: Images) -> Nearness:
    """Measure both sets against `training`; 1 % of the held-out pictures are nearer than `held_out_low`."""
    made, real = nearest(generated, training), nearest(held_out, training)
    low = float(np.quantile(real, 0.01))
    return Nearness(
        len(made), round(float(made.min()), 2), round(float(np.median(made)), 2),
        len(real), round(float(real.min()), 2), round(low, 2), round(float(np.median(real)), 2),
        round(float((made < low).mean()), 4),
    )  # fmt: skip
