"""A GAN as the training loop takes it: discriminator and generator in turn, and what is looked at after an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.data.canonical import ImageSet
from models.diagnosis.metrics import auc
from models.diagnosis.networks import normalise
from models.synthesis.augment import changed
from models.synthesis.encoder import shipped
from models.synthesis.kid import kid
from models.synthesis.networks import Architecture, Gan
from models.synthesis.recipes import SynthesisRecipe
from models.synthesis.sheet import sheet
from models.training.randomness import generator
from models.training.task import Task

LOOKED_AT, BLOCKS = 128, 8
"""Real and drawn images that are looked at after an epoch, and blocks of the KID; the card's figures are of more."""

MONITOR = "negative_kid"


@dataclass
class GanTask(Task):
    """A GAN on `train`. Even steps train the discriminator, odd ones the generator, each on a batch of its own."""

    train: ImageSet
    validation: ImageSet
    recipe: SynthesisRecipe

    def __post_init__(self) -> None:
        self.examples = len(self.train)
        self.batch_size = self.recipe.batch
        # The average moves after every step, and only every other one changes the generator.
        self.ema = self.recipe.ema**0.5
        self.monitor = MONITOR

    @property
    def architecture(self) -> Architecture:
        """Of the networks; raises `InputError` for images that no GAN here draws."""
        return architecture(self.recipe, self.train)

    @cached_property
    def images(self) -> Tensor:
        """The training images, (N, 1, H, W) in [-1, 1]."""
        return normalise(self.train.images)

    @cached_property
    def labels(self) -> Tensor:
        """Their classes, (N,)."""
        return torch.from_numpy(self.train.labels)

    def build(self) -> nn.Module:
        """Both networks, untrained."""
        return self.architecture.build()

    def batch(self, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Real images (B, 1, H, W), classes (B,), of which as many are drawn, and noise (B, Z)."""
        noise = torch.randn(len(index), self.recipe.noise, generator=generator)
        return self.images[index], self.labels[index], noise

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """The generator's loss: how far its images are from being taken for real."""
        assert isinstance(network, Gan)
        _, y, noise = batch
        with _fixed(network.discriminator):
            said = network.discriminator(self._changed(network.generator(noise, y)), y)
        return -said.mean() if self._hinge else nn.functional.softplus(-said).mean()

    def loss_of(self, step: int) -> Callable[[nn.Module, Any], Tensor]:
        """The discriminator's loss at even steps, the generator's at odd ones."""
        if step % 2:
            return self.loss
        lazy = self.recipe.r1 > 0 and (step // 2) % self.recipe.r1_every == 0
        return partial(self._discriminated, penalised=lazy)

    def _discriminated(self, network: nn.Module, batch: Any, penalised: bool) -> Tensor:
        assert isinstance(network, Gan)
        real, y, noise = batch
        with torch.no_grad():
            drawn = network.generator(noise, y)
        real = self._changed(real).requires_grad_(penalised)
        says, of_drawn = network.discriminator(real, y), network.discriminator(self._changed(drawn), y)
        if self._hinge:
            loss = torch.relu(1 - says).mean() + torch.relu(1 + of_drawn).mean()
        else:
            loss = nn.functional.softplus(-says).mean() + nn.functional.softplus(of_drawn).mean()
        if penalised:
            # R1 (Mescheder et al. 2018), taken every so many turns with as many times the weight (Karras et al. 2020).
            (slope,) = torch.autograd.grad(says.sum(), real, create_graph=True)
            penalty = slope.square().sum(dim=(1, 2, 3)).mean()
            loss = loss + 0.5 * self.recipe.r1 * self.recipe.r1_every * penalty
        return loss

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Adam for both; what has no gradient in a turn keeps its weights and moments."""
        assert isinstance(network, Gan)
        recipe = self.recipe
        rates = ((network.generator, recipe.learning_rate), (network.discriminator, recipe.discriminator_rate))
        groups = [{"params": list(part.parameters()), "lr": rate} for part, rate in rates]
        return torch.optim.Adam(groups, betas=(recipe.beta1, recipe.beta2))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Distance from validation images, diversity beside theirs, and whether the discriminator knows its images.

        `negative_kid`: minus the KID, so that more is better. `diversity`: distance between drawn images of a class
        over that between real ones, of the class where it is least. `discriminator_auc`: how well it tells training
        images from validation ones, of which it has seen none; 0.5 is chance.
        """
        assert isinstance(network, Gan)
        part = self._seen
        device = next(network.parameters()).device
        noise = torch.randn(len(part), self.recipe.noise, generator=generator(0, "validate"))
        y = torch.from_numpy(part.labels)
        drawn = network.generator(noise.to(device), y.to(device)).float().cpu()
        pixels = to_pixels(drawn)
        distance = kid(shipped().features(pixels), self._features, blocks=BLOCKS)
        trained = torch.arange(len(part)) * (self.examples // len(part) or 1) % self.examples
        says = [
            network.discriminator(x.to(device), of.to(device)).double().cpu().numpy()
            for x, of in ((self.images[trained], self.labels[trained]), (normalise(part.images), y))
        ]
        known = np.repeat([1, 0], len(part))
        return {
            MONITOR: -distance.value,
            "diversity": diversity(pixels, part.images, part.labels),
            "discriminator_auc": auc(known, np.concatenate(says)),
        }

    def picture(self, network: nn.Module) -> bytes:
        """A sheet of the same noise each time."""
        assert isinstance(network, Gan)
        device = next(network.parameters()).device
        y = torch.arange(8 * len(self.train.classes)) // 8
        noise = torch.randn(len(y), self.recipe.noise, generator=generator(0, "picture"))
        pixels = to_pixels(network.generator(noise.to(device), y.to(device)).float().cpu())
        return sheet(pixels, y.numpy(), self.train.classes)

    @property
    def _hinge(self) -> bool:
        return self.recipe.architecture == "sn-gan"

    @cached_property
    def _seen(self) -> ImageSet:
        """The validation images that are looked at: the set is in the order of its keys, which is a random one."""
        return self.validation.take(np.arange(min(LOOKED_AT, len(self.validation))))

    @cached_property
    def _features(self) -> Any:
        return shipped().features(self._seen.images)

    def _changed(self, x: Tensor) -> Tensor:
        return changed(x, self.recipe.translation, self.recipe.cutout)


def architecture(recipe: SynthesisRecipe, part: ImageSet) -> Architecture:
    """The networks that a recipe means for images of a size."""
    rows, columns = part.images.shape[1:]
    side = rows if rows == columns else 0
    return Architecture(recipe.architecture, len(part.classes), side, recipe.width, recipe.noise)


def to_pixels(drawn: Tensor) -> Any:
    """Images (N, 1, H, W) in [-1, 1] as uint8 (N, H, W), rounded."""
    return ((drawn[:, 0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


def diversity(drawn: Any, real: Any, labels: Any) -> float:
    """Mean squared distance between drawn images of one class over that between real ones, the least of all classes."""

    def spread(images: Any, label: int) -> float:
        return float(images[labels == label].astype(np.float64).var(axis=0).mean())

    shares = [spread(drawn, label) / spread(real, label) for label in np.unique(labels) if spread(real, label) > 0]
    return min(shares, default=1.0)


@contextmanager
def _fixed(network: nn.Module) -> Iterator[None]:
    """What is computed inside has no gradient with respect to the network's own weights."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in network.parameters():
            parameter.requires_grad_(True)
