"""A class-conditional SN-GAN for 28 x 28 greyscale images, readable from top to bottom.

Generator: residual up-sampling blocks with class-conditional batch normalisation. Discriminator: residual blocks under
spectral normalisation (Miyato et al. 2018) with a projection of the class (Miyato and Koyama 2018). Pixels are in
[-1, 1]. `width` is the number of channels at full resolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

NOISE = 64
"""Length of the noise vector."""


class ConditionalNorm(nn.Module):
    """Batch normalisation whose gain and offset are looked up by class, (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Embedding(classes, channels)
        self.offset = nn.Embedding(classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.offset.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `x` normalised and scaled for the classes `y` (N,)."""
        return self.norm(x) * self.gain(y)[:, :, None, None] + self.offset(y)[:, :, None, None]


class UpBlock(nn.Module):
    """A residual block that doubles the side, (N, inside, H, W) -> (N, outside, 2H, 2W)."""

    def __init__(self, inside: int, outside: int, classes: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ConditionalNorm(inside, classes), ConditionalNorm(outside, classes)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.shortcut = nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the block's activation for `x` of the classes `y` (N,)."""
        h = nn.functional.interpolate(torch.relu(self.norm1(x, y)), scale_factor=2.0)
        h = self.conv2(torch.relu(self.norm2(self.conv1(h), y)))
        return h + nn.functional.interpolate(self.shortcut(x), scale_factor=2.0)


class Generator(nn.Module):
    """Noise and class to images: (N, 64), (N,) -> (N, 1, 28, 28) in [-1, 1]."""

    def __init__(self, classes: int = 2, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.start = nn.Linear(NOISE, 4 * width * 7 * 7)
        self.up1 = UpBlock(4 * width, 2 * width, classes)
        self.up2 = UpBlock(2 * width, width, classes)
        self.norm = nn.BatchNorm2d(width)
        self.out = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, noise: Tensor, y: Tensor) -> Tensor:
        """Return one image per row of `noise`, of the class in the same row of `y`."""
        h = self.start(noise).view(-1, 4 * self.width, 7, 7)  # (N, 128, 7, 7)
        h = self.up2(self.up1(h, y), y)  # (N, 64, 14, 14) -> (N, 32, 28, 28)
        return torch.tanh(self.out(torch.relu(self.norm(h))))  # (N, 1, 28, 28)


class DownBlock(nn.Module):
    """A residual block under spectral normalisation that halves the side, (N, inside, H, W) -> (N, outside, H/2, W/2)."""

    def __init__(self, inside: int, outside: int, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.conv1 = spectral_norm(nn.Conv2d(inside, outside, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(outside, outside, 3, padding=1))
        self.shortcut = spectral_norm(nn.Conv2d(inside, outside, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's activation for `x`; the first block reads pixels, which no rectifier may cut."""
        h = self.conv2(torch.relu(self.conv1(x if self.first else torch.relu(x))))
        return nn.functional.avg_pool2d(h, 2) + self.shortcut(nn.functional.avg_pool2d(x, 2))


class Discriminator(nn.Module):
    """Images and classes to a score, high for real: (N, 1, 28, 28), (N,) -> (N,)."""

    def __init__(self, classes: int = 2, width: int = 32) -> None:
        super().__init__()
        self.down1 = DownBlock(1, width, first=True)
        self.down2 = DownBlock(width, 2 * width)
        self.conv = spectral_norm(nn.Conv2d(2 * width, 4 * width, 3, padding=1))
        self.score = spectral_norm(nn.Linear(4 * width, 1))
        self.embedding = spectral_norm(nn.Embedding(classes, 4 * width))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the score of each image as a picture of its class `y` (N,)."""
        h = self.down2(self.down1(x))  # (N, 32, 14, 14) -> (N, 64, 7, 7)
        h = torch.relu(self.conv(torch.relu(h))).mean(dim=(2, 3))  # (N, 128)
        score: Tensor = self.score(h)[:, 0] + (self.embedding(y) * h).sum(1)
        return score
