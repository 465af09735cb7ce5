"""Usefulness of synthetic images: train on synthetic, test on real (TSTR), beside train on real, test on real (TRTR).

The classifier is cnn-basic: quick, and the same for both. Its figures compare with each other, not with a model that
was trained with care.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.cases import Cases
from models.diagnosis.networks import CnnBasic, normalise
from models.prediction.evaluate import weights
from models.synthesis.interval import Interval
from models.synthesis.part import Part

Floats = NDArray[np.float64]

CLASSIFIER = "cnn-basic"
EPOCHS = 6
BATCH = 128
RATE = 1e-3


@dataclass(frozen=True)
class Usefulness:
    """AUC on the same `n` real test images: means over the seeds, and the paired `drop` from TRTR to TSTR.

    `seeds`: (seed, TSTR, TRTR) of each; `synthetic` and `real`: images trained on.
    """

    tstr: Interval
    trtr: Interval
    drop: Interval
    seeds: tuple[tuple[int, float, float], ...]
    synthetic: int
    real: int
    n: int
    classifier: str = CLASSIFIER


def usefulness(
    synthetic: Part, real: Part, test: Part, positive: int = 1, seeds: Sequence[int] = (0, 1, 2),
    epochs: float = EPOCHS, step: Callable[[], None] = lambda: None,
) -> Usefulness:  # fmt: skip
    """Train on either set with as many steps, `epochs` over the real one, and test both on `test`.

    `positive` is the class whose AUC against all others is taken; `step` is called before every step and may raise.
    """
    steps = max(1, round(epochs * math.ceil(len(real) / BATCH)))
    pairs = [
        (trained(synthetic, positive, steps, seed, step), trained(real, positive, steps, seed, step)) for seed in seeds
    ]
    y = (test.labels == positive).astype(np.float64)
    probabilities = [tuple(predicted(network, test) for network in pair) for pair in pairs]
    tstr, trtr, drop = compared(y, probabilities)
    each = tuple(
        (seed, *(round(float(_cases(y, p).figure("auc")[0]), 4) for p in pair))
        for seed, pair in zip(seeds, probabilities, strict=True)
    )
    return Usefulness(tstr, trtr, drop, each, len(synthetic), len(real), len(test))  # type: ignore[arg-type]


def compared(y: Floats, probabilities: Sequence[tuple[Floats, ...]]) -> tuple[Interval, Interval, Interval]:
    """Return TSTR, TRTR and TRTR - TSTR of `y` (N,) and each seed's pair of probabilities (N,), TSTR's first.

    A figure is the mean over the seeds; the intervals are of the test cases, drawn once for both.
    """
    pairs = [[_cases(y, p) for p in pair] for pair in probabilities]
    values = np.array([[one.figure("auc")[0] for one in pair] for pair in pairs]).mean(axis=0)  # (2,)
    drawn = np.concatenate(
        [
            np.array([[one.figure("auc", rows) for one in pair] for pair in pairs]).mean(axis=0)
            for rows in weights(pairs[0][0])
        ],
        axis=1,
    )  # (2, R)
    own, real = drawn
    return Interval.of(values[0], own), Interval.of(values[1], real), Interval.of(values[1] - values[0], real - own)


def trained(part: Part, positive: int, steps: int, seed: int, step: Callable[[], None] = lambda: None) -> nn.Module:
    """Return cnn-basic after `steps` steps of Adam on the images, in evaluation mode; equal seeds give equal ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CnnBasic(2, part.images.shape[1])
    random = np.random.default_rng(seed)
    x, y = normalise(part.images), torch.from_numpy((part.labels == positive).astype(np.int64))
    move = torch.optim.Adam(network.parameters(), lr=RATE)
    order = np.empty(0, dtype=np.int64)
    for _ in range(steps):
        step()
        if not len(order):
            order = random.permutation(len(part))
        index, order = torch.from_numpy(order[:BATCH]), order[BATCH:]
        loss = nn.functional.cross_entropy(network(x[index]), y[index])
        move.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        move.step()
    return network.eval()


@torch.no_grad()
def predicted(network: nn.Module, part: Part) -> Floats:
    """Return the probability of the positive class, (N,)."""
    logits = torch.cat([network(batch) for batch in torch.split(normalise(part.images), 256)])
    return torch.softmax(logits.double(), dim=1)[:, 1].numpy()


def _cases(y: Floats, p: Floats) -> Cases:
    return Cases(np.arange(len(y), dtype=np.uint64), {"y": y, "p": p}, {})
