"""Grad-CAM (Selvaraju et al. 2017): where on the image the model found evidence for a finding. Not a cause, not a lesion.

The map is read from stage 3 (7 x 7 cells for a 28 px image). Because the network is cut there, only the tail runs
forward again and backward, which costs a tenth of a forward pass: no hooks, and the network stays as it was.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from models.diagnosis.networks import Network

Heat = NDArray[np.float32]
"""A map over the model's input, (H, W), 0 to 1; all zero where nothing spoke for the finding."""

BOX_LEVEL = 0.6
"""Share of a map's maximum above which a place is inside a box."""


def grad_cam(network: Network, activation: Tensor, positive: int) -> Tensor:
    """Return raw maps for the class `positive`: stage-3 activation (N, C, h, w) -> (N, h, w), not negative.

    What is explained is the logit of the class less the mean of the others: with two classes that is the log odds, so
    a map never shows what raises both logits alike.
    """
    with torch.enable_grad():
        held = activation.detach().requires_grad_(True)
        logits = network.tail(held)[1].float()
        others = (logits.sum(1) - logits[:, positive]) / (logits.shape[1] - 1)
        (gradient,) = torch.autograd.grad((logits[:, positive] - others).sum(), held)
    weights = gradient.float().mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
    return torch.relu((weights * held.detach().float()).sum(dim=1))


def spread(raw: NDArray[np.float32], height: int, width: int) -> Heat:
    """Return one raw map (h, w) enlarged to (height, width) and divided by its maximum."""
    image = Image.fromarray(raw.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(image, dtype=np.float32), 0, None)
    top = float(heat.max())
    return heat / top if top > 0 else heat


def boxes(heat: Heat, most: int = 3) -> list[tuple[tuple[int, int, int, int], float]]:
    """Return up to `most` boxes ((x, y, width, height), score) around the map's high places, strongest first.

    The score is the map's mean inside the region, 0 to 1. An all-zero map has no box.
    """
    if not heat.any():
        return []
    regions, _ = ndimage.label(heat >= BOX_LEVEL)
    found: list[tuple[tuple[int, int, int, int], float]] = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
        score = float(heat[regions == number].mean())
        box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        found.append((box, round(score, 3)))
    return sorted(found, key=lambda pair: -pair[1])[:most]
