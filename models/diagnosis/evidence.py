"""Where on the image the model found evidence for a finding. Not a cause, not a lesion, not a segmentation.

The map belongs to the Grad-CAM family (Selvaraju et al. 2017): stage 3's activation (7 x 7 cells for a 28 px image)
weighted by the gradient of the finding's log odds. Three changes made it pass the audit where plain Grad-CAM did not
(`audit.py`). Weights stay cell by cell, as in HiResCAM (Draelos and Carin 2021). What is weighted is the difference to
a reference activation, that of the mean training image without the finding: it differs from normal, and it matters.
And the gradient is taken half-way between the two, a one-step integrated gradient (Sundararajan et al. 2017), because
at the image itself a sure network's output is flat. Since the network is cut at stage 3, only its tail runs again: no
hooks, and no second pass through the trunk.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.diagnosis.networks import Network

METHODS = ("grad-cam", "reference-cam")
"""What a manifest may name: plain Grad-CAM, and the map described above."""


def log_odds(logits: Tensor, positive: int) -> Tensor:
    """Return the logit of one class less the mean of the others, (N, classes) -> (N,)."""
    others = (logits.sum(1) - logits[:, positive]) / (logits.shape[1] - 1)
    return logits[:, positive] - others


def evidence(network: Network, activation: Tensor, positive: int, reference: Tensor | None) -> Tensor:
    """Return raw maps for the class `positive`: stage-3 activation (N, C, h, w) -> float32 (N, h, w).

    `reference` (1, C, h, w) is the activation that counts as normal; None gives plain Grad-CAM. Maps are signed where
    there is a reference: below zero speaks against the finding.
    """
    activation = activation.detach()
    point = activation if reference is None else (activation + reference) / 2
    with torch.enable_grad():
        held = point.clone().requires_grad_(True)
        score = log_odds(network.tail(held)[1].float(), positive)
        (gradient,) = torch.autograd.grad(score.sum(), held)
    gradient, activation = gradient.float(), activation.float()
    if reference is None:
        return torch.relu((gradient.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1))
    return (gradient * (activation - reference.float())).sum(dim=1)
