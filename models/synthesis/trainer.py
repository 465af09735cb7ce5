"""Training of the generator: a plain function of images, labels, a recipe and a seed."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.data.medmnist import Part
from models.diagnosis.trainer import Progress, normalise
from models.synthesis.networks import NOISE, Discriminator, Generator


@dataclass(frozen=True)
class GanRecipe:
    """How to train: hinge loss, Adam 2e-4 (0, .9), lazy R1, generator average, DiffAugment (Zhao et al. 2020).

    `r1` is the weight of the gradient penalty on real images, applied every `lazy` steps; `ema` the decay per step
    of the averaged generator; `shift` and `cutout` the bounds of the augmentation, in pixels.
    """

    steps: int = 3000
    batch: int = 64
    width: int = 32
    learning_rate: float = 2e-4
    r1: float = 0.1
    lazy: int = 16
    ema: float = 0.998
    shift: int = 3
    cutout: int = 8


def diff_augment(x: Tensor, recipe: GanRecipe, random: torch.Generator) -> Tensor:
    """Return `x` (N, 1, H, W) shifted by whole pixels and with one square set to mid-grey; gradients pass through."""
    count, _, height, width = x.shape
    padded = torch.nn.functional.pad(x, [recipe.shift] * 4, mode="replicate")
    moves = torch.randint(0, 2 * recipe.shift + 1, (2, count), generator=random)
    rows = (moves[0][:, None] + torch.arange(height))[:, :, None]  # (N, H, 1)
    columns = (moves[1][:, None] + torch.arange(width))[:, None, :]  # (N, 1, W)
    moved = padded[torch.arange(count)[:, None, None], 0, rows, columns].unsqueeze(1)
    corner = torch.randint(-recipe.cutout // 2, height - recipe.cutout // 2, (2, count), generator=random)
    inside_rows = _within(torch.arange(height)[None, :], corner[0], recipe.cutout)[:, :, None]
    inside_columns = _within(torch.arange(width)[None, :], corner[1], recipe.cutout)[:, None, :]
    return moved * (~(inside_rows & inside_columns)).unsqueeze(1)


def _within(index: Tensor, start: Tensor, length: int) -> Tensor:
    """Return (N, L): whether each index lies in its row's interval."""
    return (index >= start[:, None]) & (index < start[:, None] + length)


def train_gan(
    part: Part, classes: int, recipe: GanRecipe, seed: int, on_progress: Callable[[Progress], None] = lambda _: None
) -> Generator:
    """Train on `part` and return the averaged generator in evaluation mode; the callback may raise to stop."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    generator, discriminator = Generator(classes, recipe.width), Discriminator(classes, recipe.width)
    averaged = copy.deepcopy(generator)
    move_g = torch.optim.Adam(generator.parameters(), recipe.learning_rate, betas=(0.0, 0.9))
    move_d = torch.optim.Adam(discriminator.parameters(), recipe.learning_rate, betas=(0.0, 0.9))
    images, labels = normalise(part.images), torch.from_numpy(part.labels)
    start = last = time.monotonic()
    for step in range(recipe.steps):
        index = torch.randint(0, len(part), (recipe.batch,), generator=random)
        y = labels[index]
        noise = torch.randn(recipe.batch, NOISE, generator=random)
        fake = generator(noise, y)
        loss = _discriminate(discriminator, images[index], fake.detach(), y, recipe, step, random)
        _descend(move_d, loss)
        _descend(move_g, -discriminator(diff_augment(fake, recipe, random), y).mean())
        _average(averaged, generator, min(recipe.ema, step / (step + 10)))
        if time.monotonic() - last > 4 or step + 1 == recipe.steps:
            last = time.monotonic()
            eta = (last - start) / (step + 1) * (recipe.steps - step - 1)
            epoch = step * recipe.batch // len(part) + 1
            on_progress(Progress(epoch, step + 1, recipe.steps, float(loss.detach()), eta))
    return averaged.eval()


def _discriminate(
    discriminator: Discriminator, real: Tensor, fake: Tensor, y: Tensor, recipe: GanRecipe, step: int, random: torch.Generator
) -> Tensor:
    """Return the hinge loss of the discriminator, every `lazy` steps with the R1 penalty (Mescheder et al. 2018)."""
    real = diff_augment(real, recipe, random)
    penalised = step % recipe.lazy == 0
    real.requires_grad_(penalised)
    score = discriminator(real, y)
    loss = torch.relu(1 - score).mean() + torch.relu(1 + discriminator(diff_augment(fake, recipe, random), y)).mean()
    if penalised:
        (slope,) = torch.autograd.grad(score.sum(), real, create_graph=True)
        loss = loss + recipe.r1 / 2 * recipe.lazy * slope.square().sum(dim=(1, 2, 3)).mean()
    return loss


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step down `loss`."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


@torch.no_grad()
def _average(averaged: Generator, generator: Generator, decay: float) -> None:
    """Move `averaged` towards `generator`, running statistics included."""
    state = generator.state_dict()
    for name, kept in averaged.state_dict().items():
        if kept.is_floating_point():
            kept.lerp_(state[name], 1 - decay)
        else:
            kept.copy_(state[name])


def steps_for(seconds: float, steps_per_second: float) -> int:
    """Return the step count that a time budget buys at a measured rate, rounded down to hundreds, at least 100."""
    return max(100, math.floor(seconds * steps_per_second / 100) * 100)
