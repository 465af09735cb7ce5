"""The image networks of the diagnosis kind, readable from top to bottom.

Shapes stand in comments as (N, C, H, W) for a 28 x 28 image and the default width of 32. Inputs are float32
greyscale images normalised to [-1, 1]; outputs are logits, one per class in the order of the manifest's `classes`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def normalise(images: NDArray[np.uint8]) -> Tensor:
    """Return network input for greyscale images: uint8 (N, H, W) -> float32 (N, 1, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).unsqueeze(1).float().div_(127.5).sub_(1)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation around an identity path (He et al. 2016, figure 5, left).

    Shapes: (N, inside, H, W) -> (N, outside, H / stride, W / stride). Where the shape changes, the identity path is
    a strided 1x1 convolution (option B of section 3.3 of the paper).
    """

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's activation for `x`."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 for small greyscale images (He et al. 2016, "Deep Residual Learning for Image Recognition").

    The 7x7 strided stem and its max pooling, made for 224 px, are one 3x3 convolution here, so that a 28 px image
    still has 14 x 14 cells in stage 2 and 7 x 7 in stage 3, from which the evidence map is read. `width` is the
    number of channels in stage 1 (the paper's is 64); `pool` puts a 2x2 max pooling after the stem for larger images.
    The forward pass is cut in two, `trunk` and `tail`, because Grad-CAM needs the gradient of the tail alone.
    """

    def __init__(self, classes: int, width: int = 32, pool: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.pool: nn.Module = nn.MaxPool2d(2) if pool else nn.Identity()
        self.stage1 = nn.Sequential(BasicBlock(width, width, 1), BasicBlock(width, width, 1))
        self.stage2 = nn.Sequential(BasicBlock(width, 2 * width, 2), BasicBlock(2 * width, 2 * width, 1))
        self.stage3 = nn.Sequential(BasicBlock(2 * width, 4 * width, 2), BasicBlock(4 * width, 4 * width, 1))
        self.stage4 = nn.Sequential(BasicBlock(4 * width, 8 * width, 2), BasicBlock(8 * width, 8 * width, 1))
        self.head = nn.Linear(8 * width, classes)

    def trunk(self, x: Tensor) -> Tensor:
        """Return the activation of stage 3, (N, 1, 28, 28) -> (N, 128, 7, 7)."""
        x = self.pool(torch.relu(self.norm(self.stem(x))))  # (N, 32, 28, 28)
        x = self.stage1(x)  # (N, 32, 28, 28)
        x = self.stage2(x)  # (N, 64, 14, 14)
        activation: Tensor = self.stage3(x)  # (N, 128, 7, 7)
        return activation

    def tail(self, activation: Tensor) -> tuple[Tensor, Tensor]:
        """Return (features, logits) for stage 3's activation: (N, 128, 7, 7) -> (N, 256), (N, classes)."""
        features = self.stage4(activation).mean(dim=(2, 3))  # (N, 256, 4, 4) -> (N, 256)
        return features, self.head(features)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (N, 1, H, W) -> (N, classes)."""
        return self.tail(self.trunk(x))[1]


class CnnBasic(nn.Module):
    """The simple baseline, `cnn-basic`: three 3x3 convolutions of 32, 64 and 128 channels, each with a 2x2 max
    pooling, a dense layer of 512 and one sigmoid output, trained with Adam and binary cross-entropy.

    To stand in the same place as the other networks it returns two logits, (-z/2, z/2): their softmax is sigmoid(z)
    and their cross-entropy is the binary cross-entropy of z. The dense layer is as large as `side`, the images' side in
    pixels, makes it.
    """

    def __init__(self, classes: int = 2, side: int = 28) -> None:
        super().__init__()
        if classes != 2:
            raise ValueError(f"cnn-basic has one sigmoid output, so it tells 2 classes apart, not {classes}")
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),  # (N, 32, 14, 14)
            *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),  # (N, 64, 7, 7)
            *(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),  # (N, 128, 3, 3)
        )
        self.dense = nn.Linear(128 * (side // 8) ** 2, 512)
        self.output = nn.Linear(512, 1)

    def trunk(self, x: Tensor) -> Tensor:
        """Return the last convolution's activation, (N, 1, 28, 28) -> (N, 128, 3, 3)."""
        activation: Tensor = self.convolutions(x)
        return activation

    def tail(self, activation: Tensor) -> tuple[Tensor, Tensor]:
        """Return (features, logits), (N, 128, 3, 3) -> (N, 512), (N, 2)."""
        features = torch.relu(self.dense(activation.flatten(1)))  # (N, 512)
        half = self.output(features) / 2  # (N, 1)
        return features, torch.cat([-half, half], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (N, 1, 28, 28) -> (N, 2)."""
        return self.tail(self.trunk(x))[1]


class Ensemble(nn.Module):
    """Several `cnn-basic` side by side, each from a seed of its own; their logits are averaged.

    The members' activations stand next to one another in the channels, so that trunk and tail stay two halves.
    """

    def __init__(self, classes: int = 2, members: int = 4, side: int = 28) -> None:
        super().__init__()
        self.members = nn.ModuleList(CnnBasic(classes, side) for _ in range(members))

    def trunk(self, x: Tensor) -> Tensor:
        """Return the members' activations, (N, 1, 28, 28) -> (N, members * 128, 3, 3)."""
        return torch.cat([member.trunk(x) for member in self._all()], dim=1)

    def tail(self, activation: Tensor) -> tuple[Tensor, Tensor]:
        """Return (features, logits): the logits of each member side by side, (N, members * 2), and their mean, (N, 2).

        The dense features of all members would make the covariance of the distance larger than the network.
        """
        parts = activation.chunk(len(self.members), dim=1)
        logits = [member.tail(part)[1] for member, part in zip(self._all(), parts, strict=True)]
        return torch.cat(logits, dim=1), torch.stack(logits).mean(dim=0)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (N, 1, 28, 28) -> (N, 2)."""
        return self.tail(self.trunk(x))[1]

    def _all(self) -> list[CnnBasic]:
        return [member for member in self.members if isinstance(member, CnnBasic)]


Network = ResNet18 | CnnBasic | Ensemble
"""What the diagnosis kind can train and serve: a module with `trunk`, `tail` and `forward`."""

NETWORKS: dict[str, Callable[..., Network]] = {
    "resnet18": ResNet18,
    "cnn-basic": CnnBasic,
    "cnn-basic-ensemble": Ensemble,
}
"""Architectures by the name that a manifest gives."""


def build(architecture: str, classes: int, options: dict[str, int | bool] | None = None) -> Network:
    """Return an untrained network by its manifest name, with its options (`width`, `pool` of resnet18; `side` of
    cnn-basic; `members` too of its ensemble)."""
    if architecture not in NETWORKS:
        raise ValueError(f"unknown architecture {architecture!r}: choose one of {', '.join(sorted(NETWORKS))}")
    return NETWORKS[architecture](classes, **(options or {}))
