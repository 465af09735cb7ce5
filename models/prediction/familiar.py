"""How far a patient lies from those of the training: Mahalanobis distance of the profile. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QUANTILE = 0.99
"""Share of the training patients that count as familiar, by construction."""

RIDGE = 0.1
"""Added to every variance: a variable that hardly varied must not make every deviation of it strange."""


@dataclass(frozen=True)
class Familiar:
    """`mean` (F,), `whiten` (F, F) with which distances are plain, and the `limit` that scores are divided by."""

    mean: Floats
    whiten: Floats
    limit: float

    @classmethod
    def fit(cls, profiles: Floats) -> Familiar:
        """Fit to the training patients' profiles (N, F)."""
        mean = profiles.mean(axis=0)
        covariance = np.cov(profiles, rowvar=False).reshape(len(mean), -1) + RIDGE * np.eye(len(mean))
        whiten = np.linalg.inv(np.linalg.cholesky(covariance))
        away = np.sqrt((((profiles - mean) @ whiten.T) ** 2).sum(axis=1))
        return cls(mean, whiten, float(np.quantile(away, QUANTILE)))

    def score(self, profiles: Floats) -> Floats:
        """Return the distance over the limit, (N,): above 1 is unfamiliar."""
        away: Floats = np.sqrt((((profiles - self.mean) @ self.whiten.T) ** 2).sum(axis=1))
        return away / self.limit
