"""The network, and its input."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stripes import SIDE


class Network(nn.Module):
    """(N, 1, 8, 8) in [0, 1] to logits (N,)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(4 * (SIDE - 2) ** 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.head(self.features(images))[:, 0]
        return logits


def prepared(images: NDArray[np.generic]) -> Tensor:
    """(N, 8, 8) grey values to the network's input."""
    return torch.from_numpy(images.astype(np.float32) / 255)[:, None]
