"""A class-conditional flow-matching model for small greyscale images, readable from top to bottom.

Images are whitened in the basis of their principal components; a small network learns the velocity that carries
Gaussian noise to them along straight lines (Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023).
Sampling integrates that velocity from time 0 (noise) to time 1 (image) with Heun's method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.data.medmnist import Images

_FREQUENCIES = 16
"""Sine and cosine pairs that the time is given to the network in."""


@dataclass(frozen=True)
class Basis:
    """Principal components: `mean` (P,) and `axes` (K, P) in grey values / 127.5 - 1, `scale` (K,) their deviation."""

    mean: Tensor
    axes: Tensor
    scale: Tensor

    @staticmethod
    def fit(images: Images, components: int) -> Basis:
        """Return the `components` leading directions of uint8 (N, H, W) images; N must be larger than that."""
        flat = images.reshape(len(images), -1) / 127.5 - 1.0  # (N, P) float64
        mean = flat.mean(axis=0)
        _, singular, axes = np.linalg.svd(flat - mean, full_matrices=False)
        scale = singular[:components] / math.sqrt(len(images))
        parts = (mean, axes[:components], scale)
        return Basis(*(torch.from_numpy(np.ascontiguousarray(part)).float() for part in parts))

    def whiten(self, images: Images) -> Tensor:
        """Return uint8 (N, H, W) as coordinates of unit variance, (N, K) float32."""
        flat = torch.from_numpy(images.reshape(len(images), -1)).float() / 127.5 - 1
        return (flat - self.mean) @ self.axes.T / self.scale

    def images(self, coordinates: Tensor) -> NDArray[np.uint8]:
        """Return the pictures of `coordinates` (N, K), square: uint8 (N, H, W), rounded and cut to 0..255."""
        kind = coordinates.dtype
        flat = (coordinates * self.scale.to(kind)) @ self.axes.to(kind) + self.mean.to(kind)
        side = math.isqrt(flat.shape[1])
        pixels: NDArray[np.uint8] = ((flat + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
        return pixels.reshape(-1, side, side)


class Block(nn.Module):
    """A residual block of two layers, (N, width) -> (N, width), told of time and class by addition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Return `h` with the block's correction added."""
        correction: Tensor = self.second(nn.functional.silu(self.first(self.norm(h + condition))))
        return h + correction


class Velocity(nn.Module):
    """The velocity of each coordinate at a time for a class: (N, K), (N,), (N,) -> (N, K)."""

    def __init__(self, components: int, classes: int, width: int, blocks: int) -> None:
        super().__init__()
        self.time = nn.Linear(2 * _FREQUENCIES, width)
        self.label = nn.Embedding(classes, width)
        self.condition = nn.Linear(width, width)
        self.enter = nn.Linear(components, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, components)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Return the velocity at `x` for times `t` in 0..1 and class indices `y`."""
        angle = t[:, None] * torch.arange(1, _FREQUENCIES + 1, dtype=x.dtype) * math.pi  # (N, 16)
        told = self.time(torch.cat([angle.sin(), angle.cos()], dim=1)) + self.label(y)
        condition = self.condition(nn.functional.silu(told))  # (N, width)
        h = self.enter(x)
        for block in self.blocks:
            h = block(h, condition)
        velocity: Tensor = self.leave(self.norm(h))
        return velocity


@torch.no_grad()
def integrate(network: Velocity, noise: Tensor, label: int, steps: int) -> Tensor:
    """Carry `noise` (N, K) from time 0 to time 1 in `steps` equal steps of Heun's method."""
    x, y = noise, torch.full((len(noise),), label)
    for step in range(steps):
        here, there = (torch.full((len(x),), (step + ahead) / steps, dtype=x.dtype) for ahead in (0, 1))
        slope = network(x, here, y)
        x = x + (slope + network(x + slope / steps, there, y)) / (2 * steps)
    return x
