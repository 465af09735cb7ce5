"""Integrated gradients (Sundararajan et al., ICML 2017): what each input adds to a network's logit. Ours, see ADR 9.

The weights of one patient add up to the logit of the patient minus that of the baseline (completeness), save for the
error of the quadrature, which is reported and kept small: patients that need more steps get them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Logit = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""`logit(rows, inputs) -> (R,)`: the logit of the patients at `rows` (R,) with the inputs (R, ...) given."""

STEPS = (6, 24, 96)
"""Points of the path, Gauss-Legendre. All patients start with the first number, and only those whose error is too
large go on: the path of a recurrent network is smooth for most, and each step costs a forward and a backward pass."""

TOLERANCE, SHARE = 0.02, 0.01
"""Largest error allowed: .02 logits, which move a probability by half a percentage point at most, and a hundredth of
the difference that is told."""


@dataclass(frozen=True)
class Attributions:
    """For each input a tensor of weights of its shape, in logits; `difference` and `sums` (N,), `steps` (N,) taken."""

    weights: tuple[Tensor, ...]
    difference: Tensor
    sums: Tensor
    steps: Tensor

    @property
    def error(self) -> Tensor:
        """(N,) what the weights' sum lacks of the difference."""
        return self.sums - self.difference


def integrated_gradients(
    logit: Logit, inputs: Sequence[Tensor], baselines: Sequence[Tensor], steps: Sequence[int] = STEPS
) -> Attributions:
    """Attribute the logits of N patients to `inputs` (N, ...), along the straight line from `baselines`, same shapes.

    A patient's logit may depend on no other patient's inputs.
    """
    count, device = len(inputs[0]), inputs[0].device
    every = torch.arange(count, device=device)
    with torch.no_grad():
        difference = (logit(every, inputs) - logit(every, baselines)).double()
    weights = tuple(torch.zeros_like(one) for one in inputs)
    sums = torch.zeros(count, dtype=torch.float64, device=device)
    taken = torch.zeros(count, dtype=torch.long, device=device)
    rows = every
    for number in steps:
        found = _along(logit, rows, [one[rows] for one in inputs], [one[rows] for one in baselines], number)
        for whole, part in zip(weights, found, strict=True):
            whole[rows] = part
        sums[rows] = sum(part.double().flatten(1).sum(1) for part in found)
        taken[rows] = number
        rows = every[(sums - difference).abs() > TOLERANCE + SHARE * difference.abs()]
        if not len(rows):
            break
    return Attributions(weights, difference, sums, taken)


def _along(
    logit: Logit, rows: Tensor, inputs: Sequence[Tensor], baselines: Sequence[Tensor], number: int
) -> tuple[Tensor, ...]:
    """Return (input - baseline) times the mean gradient on the line between, by Gauss-Legendre in `number` points."""
    points, shares = np.polynomial.legendre.leggauss(number)
    distance = [one - base for one, base in zip(inputs, baselines, strict=True)]
    total = [torch.zeros_like(one) for one in inputs]
    for point, share in zip((points + 1) / 2, shares / 2, strict=True):
        on_way = [(base + float(point) * way).requires_grad_() for base, way in zip(baselines, distance, strict=True)]
        with torch.enable_grad():
            reached = logit(rows, on_way).sum()
        slopes = torch.autograd.grad(reached, on_way, allow_unused=True)
        for whole, slope in zip(total, slopes, strict=True):
            if slope is not None:
                whole += float(share) * slope
    return tuple(way * whole for way, whole in zip(distance, total, strict=True))
