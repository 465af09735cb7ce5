"""The GAN of virtual patients as the training loop takes it: discriminator and generator in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.diagnosis.metrics import auc
from models.prediction.encoding import Batch
from models.synthesis.mmd import Discrepancy
from models.synthesis.sequence_networks import Course, Noise, SequenceGan, Sizes, Start, summary
from models.synthesis.sequence_recipes import SequenceGanRecipe
from models.training.randomness import generator
from models.training.task import Task

MOST_COMPARED = 400
"""Real patients of each outcome that a drawn batch is compared with."""

LOOKED_AT = 256


@dataclass
class PatientGanTask(Task):
    """A GAN on training patients. Even steps train the discriminator, odd ones the generator."""

    train: Batch
    labels: Tensor  # (N,) int64
    validation: Batch
    validation_labels: Tensor
    levels: Sequence[Tensor]
    recipe: SequenceGanRecipe

    def __post_init__(self) -> None:
        self.examples = len(self.train)
        self.batch_size = self.recipe.batch
        # The average moves after every step, and only every other one changes the generator.
        self.ema = self.recipe.ema**0.5

    @property
    def sizes(self) -> Sizes:
        """Of the networks."""
        _, bins, variables = self.train.value.shape
        statics = self.train.static.shape[1]
        return Sizes(variables, statics, bins, hidden=self.recipe.hidden, noise=self.recipe.noise)

    @cached_property
    def real(self) -> Course:
        """The training patients."""
        return course(self.train)

    @cached_property
    def distance(self) -> Discrepancy:
        """From the training patients, on what is told of a whole course."""
        return Discrepancy.fit(features(self.real), self.labels, self.sizes.classes, MOST_COMPARED)

    def build(self) -> nn.Module:
        """Both networks, untrained; the generator starts at the means of each outcome."""
        return SequenceGan(self.sizes, Start.of(self.real, self.labels, self.sizes.classes), self.levels)

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Any]:
        """As many patients of each outcome as the index is long, drawn anew: the rare one would have a few of it."""
        y = torch.arange(len(index)) % self.sizes.classes
        chosen = torch.empty(len(index), dtype=torch.int64)
        for label in range(self.sizes.classes):
            own, wanted = torch.nonzero(self.labels == label)[:, 0], int((y == label).sum())
            chosen[y == label] = own[torch.randint(len(own), (wanted,), generator=generator)]
        real = {name: part[chosen] for name, part in self.real._asdict().items()}
        return {"real": real, "y": y, "noise": self.sizes.draw(len(y), generator)._asdict()}

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """The generator's loss: how far its patients are from being taken for real, and from the real ones."""
        assert isinstance(network, SequenceGan)
        drawn = _drawn(network, batch)
        network.discriminator.requires_grad_(False)
        said = network.discriminator(drawn, batch["y"])
        network.discriminator.requires_grad_(True)
        loss: Tensor = self.recipe.discrepancy * self.distance(features(drawn), batch["y"]) - said.mean()
        return loss

    def loss_of(self, step: int) -> Callable[[nn.Module, Any], Tensor]:
        """The discriminator's loss at even steps, the generator's at odd ones."""
        if step % 2:
            return self.loss
        lazy = self.recipe.r1 > 0 and (step // 2) % self.recipe.r1_every == 0
        return partial(self._discriminated, penalised=lazy)

    def _discriminated(self, network: nn.Module, batch: Any, penalised: bool) -> Tensor:
        """The hinge loss, now and then with the R1 penalty (Mescheder et al. 2018) at as many times the weight."""
        assert isinstance(network, SequenceGan)
        with torch.no_grad():
            drawn = _drawn(network, batch)
        real = Course(**{name: part.requires_grad_(penalised) for name, part in batch["real"].items()})
        says, of_drawn = network.discriminator(real, batch["y"]), network.discriminator(drawn, batch["y"])
        loss: Tensor = torch.relu(1 - says).mean() + torch.relu(1 + of_drawn).mean()
        if penalised:
            slopes = torch.autograd.grad(says.sum(), list(real), create_graph=True)
            penalty = torch.stack([slope.square().flatten(1).sum(dim=1).mean() for slope in slopes]).sum()
            loss = loss + 0.5 * self.recipe.r1 * self.recipe.r1_every * penalty
        return loss

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Adam at a rate for each network; momentum for the generator alone, which has a steady goal as well."""
        assert isinstance(network, SequenceGan)
        recipe, own, judge = self.recipe, network.generator.parameters(), network.discriminator.parameters()
        groups: list[dict[str, Any]] = [
            {"params": list(own), "lr": recipe.learning_rate, "betas": (0.5, 0.99)},
            {"params": list(judge), "lr": recipe.judge_rate, "betas": (0.0, 0.9)},
        ]
        return torch.optim.Adam(groups)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """`discrepancy` of drawn patients, and `discriminator_auc`: how well it tells training from other patients."""
        assert isinstance(network, SequenceGan)
        device = next(network.parameters()).device
        count = min(LOOKED_AT, len(self.validation), self.examples)
        y = self.labels[:count]
        random = generator(0, "validate")
        noise = {name: part.to(device) for name, part in self.sizes.draw(count, random)._asdict().items()}
        drawn = _drawn(network, {"noise": noise, "y": y.to(device)})
        parts = ((self.real, self.labels), (course(self.validation), self.validation_labels))
        says = [
            network.discriminator(Course(*(one[:count].to(device) for one in part)), of[:count].to(device)).cpu()
            for part, of in parts
        ]
        known = np.repeat([1, 0], count)
        return {
            "discrepancy": float(self.distance(features(drawn), y.to(device))),
            "discriminator_auc": auc(known, torch.cat(says).double().numpy()),
        }


def course(batch: Batch) -> Course:
    """Return patients as the networks take them."""
    return Course(batch.value * batch.mask, batch.mask, batch.static, batch.known)


def features(of: Course) -> Tensor:
    """Return what is told of a whole course, (N, 5 V + 2 S)."""
    return torch.cat([summary(of), of.static, of.known], dim=1)


def _drawn(network: SequenceGan, batch: Any) -> Course:
    drawn: Course = network.generator(Noise(**batch["noise"]), batch["y"])
    return drawn
