"""Training of a diagnosis network: a plain function of images, labels, a recipe and a seed.

Nothing here knows of jobs or files: the caller hands in a progress callback and keeps what is returned. With equal
threads, library versions and instruction set the same seed gives the same weights.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from models.data.medmnist import Images, Part
from models.diagnosis.augment import Augmentation, augment
from models.diagnosis.networks import Network, build


@dataclass(frozen=True)
class Recipe:
    """How to train: models.md's recipe for small greyscale sets.

    `epochs` is fitted to the time budget beforehand, never while training, so that a run can be repeated. `ema` is
    the decay per step of the averaged weights that are returned (0 returns the last step's). `precision` is
    "fp32" or "bf16" (autocast, channels-last); `baseline()` is cnn-basic as it is written.
    """

    architecture: str = "resnet18"
    options: dict[str, int | bool] = field(default_factory=lambda: {"width": 32})
    epochs: int = 24
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    label_smoothing: float = 0.05
    ema: float = 0.995
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    precision: str = "bf16"

    @staticmethod
    def baseline(epochs: int) -> Recipe:
        """Return cnn-basic's recipe: Adam at its usual 1e-3, binary cross-entropy, no augmentation, no averaging."""
        return Recipe("cnn-basic", {}, epochs, 128, 1e-3, 0.0, 0.0, 0.0, 0.0, None, "fp32")


@dataclass(frozen=True)
class Progress:
    """What the callback is told, at least every 5 s: `step` of `steps` (from 1), mean `loss`, `eta` in seconds."""

    epoch: int
    step: int
    steps: int
    loss: float
    eta: float


def normalise(images: Images) -> Tensor:
    """Return network input for greyscale images: uint8 (N, H, W) -> float32 (N, 1, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).unsqueeze(1).float().div_(127.5).sub_(1)


def train(
    part: Part, classes: int, recipe: Recipe, seed: int, on_progress: Callable[[Progress], None] = lambda _: None
) -> Network:
    """Train on `part` and return the (averaged) network in evaluation mode, float32.

    The callback may raise to stop the training; what it raises passes through.
    """
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    network = build(recipe.architecture, classes, recipe.options)
    network = network.to(memory_format=torch.channels_last) if recipe.precision == "bf16" else network  # type: ignore[call-overload]
    averaged = copy.deepcopy(network)
    steps = recipe.epochs * math.ceil(len(part) / recipe.batch)
    optimizer = _optimizer(network, recipe)
    told = _Teller(on_progress, steps, math.ceil(len(part) / recipe.batch))
    network.train()
    for step, (x, y) in enumerate(_batches(part, recipe, random)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (_schedule(step / steps, recipe.warmup) if recipe.warmup else 1.0)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
            logits = network(x)
        loss = nn.functional.cross_entropy(logits.float(), y, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        # The decay grows with the step, so that the average forgets the random start within the first epochs.
        _average(averaged, network, min(recipe.ema, step / (step + 10)))
        told(step + 1, float(loss.detach()))
    return averaged.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload, no-any-return]


def _optimizer(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW that decays kernels only (biases and norms are left alone), or plain Adam without decay."""
    if recipe.weight_decay == 0:
        return torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    kernels = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def _schedule(done: float, warmup: float) -> float:
    """Return the learning rate's factor at the fraction `done`: a linear warm-up, then half a cosine to zero."""
    if done < warmup:
        return (done + 1e-3) / warmup
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def _batches(part: Part, recipe: Recipe, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (images, labels) in a fresh random order every epoch; the last batch of an epoch may be smaller."""
    images, labels = normalise(part.images), torch.from_numpy(part.labels)
    for _ in range(recipe.epochs):
        for index in torch.split(torch.randperm(len(part), generator=random), recipe.batch):
            x = images[index]
            if recipe.augmentation is not None:
                x = augment(x, recipe.augmentation, random)
            yield x.to(memory_format=torch.channels_last) if recipe.precision == "bf16" else x, labels[index]


@torch.no_grad()
def _average(averaged: Network, network: Network, decay: float) -> None:
    """Move `averaged` towards `network`: parameters and running statistics alike, counters copied."""
    state = network.state_dict()
    for name, kept in averaged.state_dict().items():
        if kept.is_floating_point():
            kept.lerp_(state[name], 1 - decay)
        else:
            kept.copy_(state[name])


class _Teller:
    """Calls the progress callback at the end of each epoch and at least every 4 s in between."""

    def __init__(self, callback: Callable[[Progress], None], steps: int, per_epoch: int) -> None:
        self.callback, self.steps, self.per_epoch = callback, steps, per_epoch
        self.start = self.last = time.monotonic()
        self.losses: list[float] = []

    def __call__(self, step: int, loss: float) -> None:
        self.losses.append(loss)
        now = time.monotonic()
        if step % self.per_epoch and now - self.last < 4:
            return
        eta = (now - self.start) / step * (self.steps - step)
        epoch = (step - 1) // self.per_epoch + 1
        self.callback(Progress(epoch, step, self.steps, sum(self.losses) / len(self.losses), eta))
        self.last, self.losses = now, []
