"""The image GANs of the synthesis kind, readable from top to bottom.

Shapes stand in comments for 28 x 28 pixels and the width c = 32. A generator takes noise (N, Z) and classes (N,) int64
and draws (N, 1, H, W) in [-1, 1]; a discriminator takes both and says one number per image, (N,), high for real.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from jobs.errors import InputError


def halvings(side: int) -> tuple[int, int]:
    """(pixels of the coarsest grid, number of doublings from there): 28 -> (7, 2), 64 -> (8, 3).

    Raises `InputError` where the side is no small number times a power of two.
    """
    base, doublings = side, 0
    while base > 8 and base % 2 == 0:
        base, doublings = base // 2, doublings + 1
    if not 4 <= base <= 8 or doublings < 1:
        detail = "A GAN draws squares whose side is 4 to 8 pixels doubled again and again, such as 28, 32, 64"
        raise InputError(f"{detail}; these images have {side}: add the data set again with another size.")
    return base, doublings


class ConditionalNorm(nn.Module):
    """Batch normalisation whose gain and offset depend on the class (Dumoulin et al. 2017)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Embedding(classes, channels)
        self.offset = nn.Embedding(classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.offset.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(N, C, H, W), (N,) -> (N, C, H, W)."""
        scaled: Tensor = self.norm(x) * self.gain(y)[:, :, None, None] + self.offset(y)[:, :, None, None]
        return scaled


class Up(nn.Module):
    """Twice the sides by a transposed convolution, told the class first: (N, C, H, W) to (N, D, 2 H, 2 W)."""

    def __init__(self, inside: int, outside: int, classes: int) -> None:
        super().__init__()
        self.norm = ConditionalNorm(inside, classes)
        self.conv = nn.ConvTranspose2d(inside, outside, 4, stride=2, padding=1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the finer activation."""
        finer: Tensor = self.conv(torch.relu(self.norm(x, y)))
        return finer


class SnGenerator(nn.Module):
    """The generator of `SnGan`."""

    def __init__(self, classes: int, side: int, width: int, noise: int) -> None:
        super().__init__()
        self.base, doublings = halvings(side)
        widths = [width * 2**level for level in range(doublings, -1, -1)]  # 128, 64, 32
        self.noise = noise
        self.enter = nn.Linear(noise, widths[0] * self.base**2)
        self.blocks = nn.ModuleList(Up(inside, outside, classes) for inside, outside in pairwise(widths))
        self.norm = ConditionalNorm(width, classes)
        self.leave = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """(N, Z), (N,) -> (N, 1, H, W)."""
        h = self.enter(z).view(len(z), -1, self.base, self.base)  # (N, 128, 7, 7)
        for block in self.blocks:
            h = block(h, y)  # (N, 64, 14, 14), (N, 32, 28, 28)
        return torch.tanh(self.leave(torch.relu(self.norm(h, y))))


class SnDiscriminator(nn.Module):
    """The discriminator of `SnGan`: what it says of an image, and how well that fits the class (a projection)."""

    def __init__(self, classes: int, side: int, width: int) -> None:
        super().__init__()
        _, doublings = halvings(side)
        widths = [width * 2**level for level in range(doublings + 1)]  # 32, 64, 128
        layers: list[nn.Module] = [spectral_norm(nn.Conv2d(1, width, 3, padding=1)), nn.LeakyReLU(0.1)]
        for inside, outside in pairwise(widths):
            layers += [spectral_norm(nn.Conv2d(inside, outside, 4, stride=2, padding=1)), nn.LeakyReLU(0.1)]
        self.layers = nn.Sequential(*layers)
        self.leave = spectral_norm(nn.Linear(widths[-1], 1))
        self.label = spectral_norm(nn.Embedding(classes, widths[-1]))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(N, 1, H, W), (N,) -> (N,)."""
        h = self.layers(x).sum(dim=(2, 3))  # (N, 128, 7, 7) -> (N, 128)
        said: Tensor = self.leave(h)[:, 0] + (self.label(y) * h).sum(dim=1)
        return said


class DcganGenerator(nn.Module):
    """The generator of `DcganBasic`."""

    def __init__(self, classes: int, side: int, width: int, noise: int) -> None:
        super().__init__()
        self.base, doublings = halvings(side)
        self.noise, self.classes = noise, classes
        widths = [width * 2**level for level in range(doublings, 0, -1)] + [1]  # 128, 64, 1
        self.enter = nn.Linear(noise + classes, widths[0] * self.base**2)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for inside, outside in pairwise(widths):
            layers.append(nn.ConvTranspose2d(inside, outside, 4, stride=2, padding=1))
            layers += [nn.BatchNorm2d(outside), nn.ReLU()] if outside > 1 else [nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """(N, Z), (N,) -> (N, 1, H, W)."""
        told = torch.cat([z, nn.functional.one_hot(y, self.classes).to(z.dtype)], dim=1)
        drawn: Tensor = self.layers(self.enter(told).view(len(z), -1, self.base, self.base))
        return drawn


class DcganDiscriminator(nn.Module):
    """The discriminator of `DcganBasic`; each class is a further channel of the image, all ones or all zeros."""

    def __init__(self, classes: int, side: int, width: int) -> None:
        super().__init__()
        base, doublings = halvings(side)
        self.classes = classes
        widths = [1 + classes, *(width * 2 ** (level + 1) for level in range(doublings))]  # 3, 64, 128
        layers: list[nn.Module] = []
        for n in range(doublings):
            layers += [nn.Conv2d(widths[n], widths[n + 1], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            layers += [nn.BatchNorm2d(widths[n + 1])] if n else []
        self.layers = nn.Sequential(*layers)
        self.leave = nn.Linear(widths[-1] * base**2, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(N, 1, H, W), (N,) -> (N,)."""
        hot = nn.functional.one_hot(y, self.classes).to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        said: Tensor = self.leave(self.layers(torch.cat([x, hot], dim=1)).flatten(1))[:, 0]
        return said


class Gan(nn.Module):
    """A generator and its discriminator, trained in turn."""

    generator: Any
    discriminator: Any


class SnGan(Gan):
    """The spectrally normalised GAN with a projection discriminator (Miyato et al. 2018; Miyato and Koyama 2018): the
    standard convolutional network of the first paper's table 3, at the scale of small greyscale images.

    `width` is c, the channels at full size. The residual blocks of the second paper cost about twice as much a step.
    """

    def __init__(self, classes: int, side: int = 28, width: int = 32, noise: int = 64) -> None:
        super().__init__()
        self.generator = SnGenerator(classes, side, width, noise)
        self.discriminator = SnDiscriminator(classes, side, width)


class DcganBasic(Gan):
    """The simple baseline, `dcgan-basic`: the DCGAN (Radford et al. 2016) that the project was first sketched with.

    That sketch had noise of 100 numbers, a generator whose layers did not fit one another in shape, and a loop that
    never showed its discriminator a real image. This is the network that it meant: transposed convolutions that double
    the coarsest grid up to the image, strided convolutions back, batch normalisation, and real images in every step.
    A set of cases needs classes, so both parts are told the class (Mirza and Osindero 2014).
    """

    def __init__(self, classes: int, side: int = 28, width: int = 32, noise: int = 100) -> None:
        super().__init__()
        self.generator = DcganGenerator(classes, side, width, noise)
        self.discriminator = DcganDiscriminator(classes, side, width)


@dataclass(frozen=True)
class Architecture:
    """A GAN by its name in a manifest, and its options."""

    name: str
    classes: int
    side: int
    width: int
    noise: int

    def build(self) -> Gan:
        """The untrained networks; raises ValueError for an unknown name and `InputError` for an impossible side."""
        if self.name not in NETWORKS:
            raise ValueError(f"unknown architecture {self.name!r}: choose one of {', '.join(sorted(NETWORKS))}")
        return NETWORKS[self.name](self.classes, self.side, self.width, self.noise)


NETWORKS: dict[str, Callable[[int, int, int, int], Gan]] = {"sn-gan": SnGan, "dcgan-basic": DcganBasic}
