"""Training of the flow-matching model: a plain function of images, labels, a recipe and a seed."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.data.medmnist import Part
from models.synthesis.flow import Basis, Velocity


@dataclass(frozen=True)
class FlowRecipe:
    """How to train: AdamW with a short warm-up and a cosine, times drawn logit-normal, averaged weights returned.

    `components` principal components are kept; `ema` is the decay per step of the average. Nothing depends on the
    clock, so a run can be repeated.
    """

    steps: int = 6000
    batch: int = 256
    components: int = 192
    width: int = 320
    blocks: int = 2
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 200
    ema: float = 0.999


@dataclass(frozen=True)
class Progress:
    """What the callback is told: `step` of `steps` (from 1), mean `loss`, `eta` in seconds."""

    epoch: int
    step: int
    steps: int
    loss: float
    eta: float


@dataclass(frozen=True)
class Flow:
    """What training returns: the basis and the averaged network, in evaluation mode."""

    basis: Basis
    network: Velocity


def train_flow(
    part: Part, classes: int, recipe: FlowRecipe, seed: int, on_progress: Callable[[Progress], None] = lambda _: None
) -> Flow:
    """Train on `part`; the callback is told at least every 5 s and may raise to stop the training."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    basis = Basis.fit(part.images, recipe.components)
    data, labels = basis.whiten(part.images), torch.from_numpy(part.labels)
    network = Velocity(recipe.components, classes, recipe.width, recipe.blocks)
    averaged = copy.deepcopy(network)
    move = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99), weight_decay=recipe.weight_decay)
    # Leading components carry most of a picture, so an error there counts more; the root keeps the fine ones in play.
    weight = basis.scale / basis.scale.mean()
    start = last = time.monotonic()
    for step in range(recipe.steps):
        move.param_groups[0]["lr"] = _rate(recipe, step)
        index = torch.randint(0, len(part), (recipe.batch,), generator=random)
        loss = _loss(network, data[index], labels[index], weight, random)
        move.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        move.step()
        _average(averaged, network, min(recipe.ema, step / (step + 10)))
        if time.monotonic() - last > 4 or step + 1 == recipe.steps:
            last = time.monotonic()
            eta = (last - start) / (step + 1) * (recipe.steps - step - 1)
            epoch = step * recipe.batch // len(part) + 1
            on_progress(Progress(epoch, step + 1, recipe.steps, float(loss.detach()), eta))
    return Flow(basis, averaged.eval())


def _rate(recipe: FlowRecipe, step: int) -> float:
    """Return the learning rate of a step: linear warm-up times a cosine that ends at nought."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    return recipe.learning_rate * min(1.0, (step + 1) / recipe.warmup) * cosine


def _loss(network: Velocity, data: Tensor, labels: Tensor, weight: Tensor, random: torch.Generator) -> Tensor:
    """Return the flow-matching loss: the velocity on the straight line from noise to each row of `data` (N, K)."""
    noise = torch.randn(data.shape, generator=random)
    t = torch.sigmoid(torch.randn(len(data), generator=random))
    between = torch.lerp(noise, data, t[:, None])
    velocity: Tensor = network(between, t, labels)
    return ((velocity - (data - noise)).square() * weight).mean()


@torch.no_grad()
def _average(averaged: Velocity, network: Velocity, decay: float) -> None:
    """Move the weights of `averaged` towards those of `network`."""
    for kept, new in zip(averaged.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
