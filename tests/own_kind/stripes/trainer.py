"""`train(session)`: a data set of images of 8 x 8 pixels becomes a version."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from jobs.training import NewVersion
from models.data.canonical import TEST, TRAIN, VALIDATION, ImageSet
from models.training.session import Session
from models.training.task import Task
from stripes import StripesRecipe
from stripes.network import Network, prepared


class StripesTask(Task):
    """The network on the training part, looked at on the validation part."""

    batch_size = 32

    def __init__(self, data: ImageSet, recipe: StripesRecipe) -> None:
        train, self.held = data.take(data.part(TRAIN)), data.take(data.part(VALIDATION))
        self.images, self.labels = prepared(train.images), torch.from_numpy(train.labels).float()
        self.examples, self.recipe = len(train), recipe

    def build(self) -> nn.Module:
        """The untrained network."""
        return Network()

    def batch(self, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images and labels."""
        return self.images[index], self.labels[index]

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Binary cross-entropy."""
        images, labels = batch
        return nn.functional.binary_cross_entropy_with_logits(network(images), labels)

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(network.parameters(), lr=self.recipe.learning_rate)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Share of right answers."""
        return {"accuracy": accuracy(network, self.held)}


def accuracy(network: nn.Module, data: ImageSet) -> float:
    """Share of right answers at a probability of .5."""
    with torch.no_grad():
        return float(np.mean((network(prepared(data.images)).numpy() > 0) == data.labels))


def train(session: Session) -> NewVersion:
    """One fit; the test part is read once, at the end."""
    recipe, data = session.recipe, session.data
    assert isinstance(recipe, StripesRecipe)
    assert isinstance(data, ImageSet)
    network = session.fit("network", StripesTask(data, recipe), recipe.epochs)
    test = data.take(data.part(TEST))
    manifest = {"metrics": {"test": {"n": len(test), "accuracy": {"value": accuracy(network, test)}}}}
    return NewVersion(session.name, "stripes", manifest, {"weights.safetensors": save(network.state_dict())})
