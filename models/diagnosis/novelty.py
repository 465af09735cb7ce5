"""How far an image lies from what the model was trained on: Mahalanobis distance of features, and energy of logits.

Features are the channel means of stages 3 and 4 next to one another (Lee et al. 2018 take several layers too: the
last one alone is blind to what the classifier learnt to ignore).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.diagnosis.metrics import Floats, Ints

QUANTILE = 0.99
"""Share of validation images that each of the two scores calls familiar, by construction."""


@dataclass(frozen=True)
class Familiar:
    """What familiar features look like: class `means` (classes, F) and `whiten` (F, F) of the shared covariance.

    `distance` and `energy` are the validation quantiles above which an image counts as far.
    """

    means: Tensor
    whiten: Tensor
    distance: float
    energy: float

    def distances(self, features: Tensor) -> Tensor:
        """Return the Mahalanobis distance to the nearest class, (N, F) -> (N,)."""
        return nearest(features, self.means, self.whiten)


def gather(activation: Tensor, features: Tensor) -> Tensor:
    """Return the feature vector per image: (N, C, h, w) and (N, D) -> (N, C + D)."""
    return torch.cat([activation.mean(dim=(2, 3)), features], dim=1).float()


def nearest(features: Tensor, means: Tensor, whiten: Tensor) -> Tensor:
    """Return the whitened distance to the nearest of `means`: (N, F), (classes, F), (F, F) -> (N,)."""
    return torch.cdist(features @ whiten, means @ whiten).amin(dim=1)


def fit(features: Tensor, labels: Ints) -> tuple[Tensor, Tensor]:
    """Return (means, whiten) of training features (N, F).

    The covariance within the classes is shrunk towards a multiple of the identity by Ledoit and Wolf's (2004)
    estimate, because a small set has fewer images than the vector has entries.
    """
    x = features.double().numpy()
    means = np.stack([x[labels == label].mean(axis=0) for label in np.unique(labels)])
    centred = x - means[np.searchsorted(np.unique(labels), labels)]
    values, vectors = np.linalg.eigh(_shrunk(centred))
    whiten = vectors / np.sqrt(values)
    return torch.from_numpy(means).float(), torch.from_numpy(whiten).float()


def _shrunk(centred: Floats) -> Floats:
    """Return the Ledoit-Wolf covariance of rows that have mean zero, (N, F) -> (F, F)."""
    count, width = centred.shape
    sample = centred.T @ centred / count
    level = np.trace(sample) / width
    spread = ((sample - level * np.eye(width)) ** 2).sum()
    noise = ((centred**2).T @ (centred**2) / count - sample**2).sum() / count
    share = min(1.0, noise / spread) if spread > 0 else 1.0
    shrunk: Floats = (1 - share) * sample + (share * level + 1e-9) * np.eye(width)
    return shrunk


def energy(logits: Tensor) -> Tensor:
    """Return the energy, high for unfamiliar images (Liu et al. 2020): (N, classes) -> (N,)."""
    return -torch.logsumexp(logits.float(), dim=1)
