"""The squared maximum mean discrepancy as a loss: how far a drawn sample is from the real cases of its class.

A mixture of Gaussian kernels (Li et al., "Generative Moment Matching Networks", ICML 2015) and two polynomial ones, by
the unbiased estimate, on features of a whole case. Beside a discriminator it tells a generator of means, spreads, and
how they go together from the first step on. The linear kernel, on values and their squares, sees a shift of a mean or a
spread, the quadratic one sees correlations: among many features these move the distance of two cases by little.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SCALES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Widths of the kernels, in the median squared distance of real cases."""

CONSTANT, LEAST_DEVIATION = 1e-3, 0.05
FARTHEST = 10.0
"""Features are z-scores of the real cases, held to this: a stray one must not decide the gradient."""
WIDE = 3.0
"""The same where they are squared."""
QUADRATIC = 3.0
"""Weight of the quadratic kernel, as in the cube of 1 + x.y that the kernel inception distance takes."""


@dataclass(frozen=True, eq=False)
class Discrepancy:
    """Real cases of each class as z-scores, [(M, F)], with the median squared distance and the mean kernel of each."""

    mean: Tensor
    deviation: Tensor
    real: tuple[Tensor, ...]
    median: tuple[float, ...]
    within: tuple[float, ...]

    @classmethod
    def fit(cls, features: Tensor, labels: Tensor, classes: int, most: int) -> Discrepancy:
        """Of real features (N, F) with labels (N,); the first `most` of each class are kept, two at least."""
        mean, spread = features.mean(dim=0), features.std(dim=0)
        # What never changes has no scale of its own: a small one would forbid ever drawing it.
        deviation = torch.where(spread < CONSTANT, 1.0, spread.clamp_min(LEAST_DEVIATION))
        scaled = ((features - mean) / deviation).clamp(-FARTHEST, FARTHEST)
        real = tuple(scaled[labels == label][:most] for label in range(classes))
        median = tuple(float(_squared(one, one)[~torch.eye(len(one), dtype=torch.bool)].median()) for one in real)
        within = tuple(_within(one, width) for one, width in zip(real, median, strict=True))
        return cls(mean, deviation, real, median, tuple(float(one) for one in within))

    def __call__(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over the classes that two drawn cases or more have: (N, F), (N,) -> scalar."""
        scaled = ((features - self.mean.to(features)) / self.deviation.to(features)).clamp(-FARTHEST, FARTHEST)
        found = []
        for label, real in enumerate(self.real):
            own = scaled[labels == label]
            if len(own) > 1:
                across = _kernel(own, real.to(own), self.median[label]).mean()
                found.append(_within(own, self.median[label]) - 2 * across + self.within[label])
        return torch.stack(found).mean() if found else scaled.sum() * 0


def _within(x: Tensor, median: float) -> Tensor:
    """The mean kernel of two different cases."""
    values = _kernel(x, x, median)
    return (values.sum() - values.diagonal().sum()) / (len(x) * (len(x) - 1))


def _kernel(a: Tensor, b: Tensor, median: float) -> Tensor:
    """(N, F), (M, F) -> (N, M)."""
    squared = _squared(a, b) / max(median, 1e-9)
    gaussian = torch.stack([torch.exp(-squared / scale) for scale in SCALES]).mean(dim=0)
    alike = a.clamp(-WIDE, WIDE) @ b.clamp(-WIDE, WIDE).T / a.shape[1]
    return gaussian + _moments(a) @ _moments(b).T / a.shape[1] + QUADRATIC * alike.square()


def _moments(x: Tensor) -> Tensor:
    """(N, F) -> (N, 2 F): z-scores and their squares, less the 1 that these have in the mean."""
    return torch.cat([x, x.clamp(-WIDE, WIDE).square() - 1], dim=1)


def _squared(a: Tensor, b: Tensor) -> Tensor:
    return (a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * a @ b.T).clamp_min(0)
