"""DiffAugment (Zhao et al. 2020): real and drawn images are changed alike before the discriminator sees them.

So it cannot learn the training images by heart, and the generator, through which the gradient passes, does not learn to
draw the changes. Shift and hole are drawn from torch's seeded generator.
"""

from __future__ import annotations

import torch
from torch import Tensor


def changed(x: Tensor, translation: float, cutout: float) -> Tensor:
    """Return images (N, 1, H, W) shifted by up to `translation` of the side and with a grey hole of side `cutout`."""
    if translation > 0:
        x = shifted(x, int(x.shape[2] * translation + 0.5))
    return x if cutout == 0 else holed(x, int(x.shape[2] * cutout + 0.5))


def shifted(x: Tensor, most: int) -> Tensor:
    """Return each image moved by up to `most` pixels along both axes; what moves in is black (-1)."""
    count, _, height, width = x.shape
    down, right = (torch.randint(0, 2 * most + 1, (count, 1), device=x.device) for _ in range(2))
    padded = torch.nn.functional.pad(x, (most,) * 4, value=-1.0)
    rows = (torch.arange(height, device=x.device) + down)[:, None, :, None]  # (N, 1, H, 1)
    columns = (torch.arange(width, device=x.device) + right)[:, None, None, :]  # (N, 1, 1, W)
    which = torch.arange(count, device=x.device)[:, None, None, None]
    return padded[which, torch.zeros_like(which), rows, columns]


def holed(x: Tensor, side: int) -> Tensor:
    """Return each image with a square of `side` pixels set to the middle grey (0); it may lie partly outside."""
    count, _, height, width = x.shape

    def covered(length: int) -> Tensor:
        middle = torch.randint(0, length + 1, (count, 1), device=x.device)
        distance = torch.arange(length, device=x.device) - middle
        return (distance >= -(side // 2)) & (distance < side - side // 2)  # (N, length)

    hole = covered(height)[:, None, :, None] & covered(width)[:, None, None, :]
    return x.masked_fill(hole, 0.0)
