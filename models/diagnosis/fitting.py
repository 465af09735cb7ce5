"""One diagnosis network as the training loop takes it: batches, loss, optimizer, and figures on the validation part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from models.data.canonical import ImageSet
from models.diagnosis import calibration, metrics
from models.diagnosis.augment import augment
from models.diagnosis.networks import Network, build, normalise
from models.diagnosis.recipes import DiagnosisRecipe, Simple
from models.training.task import Precision, Task

MOST_VALIDATED = 1024
"""Validation images looked at after each epoch; the figures of the card are those of all."""

LARGE = 8000
"""Training images above which, or a side above 28 pixels at which, ResNet pools after its stem (models.md)."""


@dataclass
class ImageTask(Task):
    """A network of the architecture that `recipe` names, trained on `train` and looked at on `validation`."""

    train: ImageSet
    validation: ImageSet
    recipe: DiagnosisRecipe
    positive: int
    start: Network | None = None
    """A network whose weights the training starts from, instead of random ones."""

    def __post_init__(self) -> None:
        self.examples = len(self.train)
        self.batch_size = self.recipe.batch
        self.precision: Precision = self.recipe.precision
        self.ema = self.recipe.ema

    @cached_property
    def labels(self) -> Tensor:
        """Their classes, (N,)."""
        return torch.from_numpy(self.train.labels)

    def build(self) -> nn.Module:
        """The untrained network."""
        network = build(*architecture(self.recipe, self.train))
        if self.start is not None:
            network.load_state_dict(self.start.state_dict())
        laid_out: nn.Module = self._laid_out(network)
        return laid_out

    def batch(self, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images (B, 1, H, W), changed by the recipe's augmentation, and labels (B,)."""
        # Normalised here and not once for all: every fit of a training has a task, and the images of a large set as
        # float32 are four times the bytes that all tasks share.
        x = normalise(self.train.images[index.numpy()])
        if self.recipe.augmentation is not None:
            x = augment(x, self.recipe.augmentation, generator)
        return self._laid_out(x), self.labels[index]

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Cross-entropy with the recipe's label smoothing."""
        x, y = batch
        return nn.functional.cross_entropy(network(x).float(), y, label_smoothing=self.recipe.label_smoothing)

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """AdamW that decays kernels only (biases and norms are left alone), or plain Adam without decay."""
        rate, decay = self.recipe.learning_rate, self.recipe.weight_decay
        if decay == 0:
            return torch.optim.Adam(network.parameters(), lr=rate)
        kernels = [parameter for parameter in network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
        groups = [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=rate)

    def schedule(self, done: float) -> float:
        """A linear warm-up, then half a cosine to zero; without warm-up constant."""
        warmup = self.recipe.warmup
        if not warmup:
            return 1.0
        if done < warmup:
            return (done + 1e-3) / warmup
        return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """AUC and log loss on (the first images of) the validation part."""
        part = self.validation
        device = next(network.parameters()).device
        labels = part.labels[:MOST_VALIDATED]
        batches = (normalise(part.images[at : min(at + 256, len(labels))]) for at in range(0, len(labels), 256))
        logits = torch.cat([network(self._laid_out(some).to(device)).float().cpu() for some in batches])
        scores = logits.double().numpy()
        y = (labels == self.positive).astype("int64")
        found = {"validation_loss": calibration.log_loss(scores, labels, 1.0)}
        if 0 < y.sum() < len(y):
            found["validation_auc"] = metrics.auc(y, calibration.softmax(scores)[:, self.positive])
        return found

    def _laid_out(self, value: Any) -> Any:
        """bf16 convolutions are faster with the channels last (measured); float32 ones are not."""
        return value.to(memory_format=torch.channels_last) if self.recipe.precision == "bf16" else value


def architecture(recipe: DiagnosisRecipe, part: ImageSet) -> tuple[str, int, dict[str, int | bool]]:
    """Name, classes and options of one network (one member of an ensemble), as `build` takes them."""
    side = part.images.shape[1]
    if recipe.architecture == "cnn-basic":
        return "cnn-basic", len(part.classes), {} if side == 28 else {"side": side}
    pool: dict[str, int | bool] = {"pool": True} if side > 28 or len(part) > LARGE else {}
    return "resnet18", len(part.classes), {"width": recipe.width, **pool}


def together(members: list[Network], part: ImageSet) -> Network:
    """The trained members as one network whose logits are their mean."""
    side = part.images.shape[1]
    options: dict[str, int | bool] = {"members": len(members), **({} if side == 28 else {"side": side})}
    network = build("cnn-basic-ensemble", len(part.classes), options)
    state = {f"members.{n}.{key}": value for n, one in enumerate(members) for key, value in one.state_dict().items()}
    network.load_state_dict(state)
    return network.eval()


def baseline(recipe: DiagnosisRecipe) -> Simple:
    """The simple network that every training is held against."""
    return Simple(epochs=recipe.baseline_epochs, batch=recipe.batch)
