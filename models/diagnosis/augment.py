"""Random changes to training images, each small enough that a reader would still give the same diagnosis."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.diagnosis.recipes import Augmentation


def augment(x: Tensor, how: Augmentation, random: torch.Generator) -> Tensor:
    """Return changed copies of normalised images, (N, 1, H, W) in [-1, 1], drawn from the generator `random`."""

    def draw(bound: float) -> Tensor:
        return (torch.rand(len(x), generator=random) * 2 - 1) * bound

    angle, scale = draw(math.radians(how.rotate)), 1 + draw(how.zoom)
    mirror = torch.where(torch.rand(len(x), generator=random) < 0.5, -1.0, 1.0) if how.flip else torch.ones(len(x))
    # affine_grid counts in half image widths, so a pixel is 2 / W.
    right, down = draw(2 * how.shift / x.shape[3]), draw(2 * how.shift / x.shape[2])
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [torch.stack([cosine * mirror, -sine, right], 1), torch.stack([sine * mirror, cosine, down], 1)]
    grid = torch.nn.functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    moved = torch.nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    gain, offset = 1 + draw(how.contrast), draw(2 * how.brightness)
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    changed = (moved - mean) * gain.view(-1, 1, 1, 1) + mean + offset.view(-1, 1, 1, 1)
    return changed.clamp(-1, 1)


def views(x: Tensor, count: int) -> Tensor:
    """Return `count` fixed views of each image for test-time averaging, (N, 1, H, W) -> (count, N, 1, H, W).

    The first view is the image itself; the others are shifted by a pixel along one of eight directions.
    """
    steps = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)]
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    height, width = x.shape[2:]
    return torch.stack([padded[:, :, 1 + v : 1 + v + height, 1 + h : 1 + h + width] for v, h in steps[:count]])
