"""The fitting of the two networks, as the training loop takes it: masked loss, batches, early choice by validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.screening import features, graphs, lstm, mpnn, spelling
from models.screening.graphs import Graph
from models.screening.molecules import Molecule
from models.screening.outcome import Outcome
from models.screening.recipes import LstmSettings, MpnnSettings, NetworkSettings
from models.screening.spelling import Vocabulary
from models.training.task import Task

WARM_UP = 0.05
"""Share of the steps over which the learning rate rises; it then falls along a half cosine."""

CHUNK = 256

LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "classes": nn.functional.binary_cross_entropy_with_logits,
    "numbers": nn.functional.mse_loss,
}
"""By the name of the outcome."""


class MoleculeTask(Task):
    """What both networks share. `labels` (N, T), standardised, NaN where not measured, of training and then validation
    molecules."""

    settings: NetworkSettings
    config: Mapping[str, Any]
    """How the network is built again."""

    clip = 1.0

    def __init__(self, settings: NetworkSettings, labels: NDArray[np.float32], training: int, outcome: Outcome) -> None:
        """The first `training` molecules are the examples, the rest validates."""
        self.settings, self.labels, self.examples = settings, torch.from_numpy(labels), training
        self.outcome, self.monitor = outcome, outcome.monitor
        self.batch_size, self.ema = settings.batch, settings.ema

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Mean over what was measured."""
        inputs, labels = batch
        return masked_loss(self.scores(network, inputs), labels, self.outcome)

    def scores(self, network: nn.Module, inputs: Any) -> Tensor:
        """The network's (B, T) for the inputs of a batch."""
        raise NotImplementedError

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(
            network.parameters(), lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )

    def schedule(self, done: float) -> float:
        """A short rise, then a half cosine to nothing."""
        return min(1.0, done / WARM_UP + 0.1) * (0.5 + 0.5 * math.cos(math.pi * done))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figure and loss on the validation molecules."""
        found = torch.cat([self.scores(network, part) for part in self.validation(next(network.parameters()).device)])
        labels = self.labels[self.examples :]
        loss = float(masked_loss(found.cpu(), labels, self.outcome))
        figure = self.outcome.monitored(labels.numpy(), found.double().cpu().numpy())
        return {self.outcome.monitor: figure, "validation_loss": loss}

    def validation(self, device: torch.device) -> Any:
        """The validation molecules as inputs, a chunk at a time."""
        raise NotImplementedError


class LstmTask(MoleculeTask):
    """Random spellings in training, the canonical one in validation."""

    def __init__(
        self, molecules: list[Molecule], labels: NDArray[np.float32], training: int, vocabulary: Vocabulary,
        settings: LstmSettings, outcome: Outcome,
    ) -> None:  # fmt: skip
        """`molecules` (N,): training, then validation."""
        super().__init__(settings, labels, training, outcome)
        self.molecules, self.vocabulary = molecules, vocabulary
        self.config = {
            "vocabulary": len(vocabulary), "targets": labels.shape[1], "layers": settings.layers,
            "hidden": settings.hidden, "embedding": settings.embedding, "dropout": settings.dropout,
        }  # fmt: skip

    def build(self) -> nn.Module:
        """The untrained LSTM."""
        return lstm.build(self.config)

    def batch(self, index: Tensor, generator: torch.Generator) -> Any:
        """Codes and lengths of one random spelling each, and labels."""
        seeds = torch.randint(2**31 - 1, (len(index),), generator=generator).tolist()
        texts = [spelling.spelling(self.molecules[row], seed) for row, seed in zip(index.tolist(), seeds, strict=True)]
        return self.vocabulary.encode(texts), self.labels[index]

    def scores(self, network: nn.Module, inputs: Any) -> Tensor:
        """From codes and lengths."""
        found: Tensor = network(*inputs)
        return found

    def validation(self, device: torch.device) -> Any:
        """By canonical SMILES."""
        for start in range(self.examples, len(self.molecules), CHUNK):
            codes, lengths = self.vocabulary.encode([one.canonical for one in self.molecules[start : start + CHUNK]])
            yield codes.to(device), lengths


class MpnnTask(MoleculeTask):
    """Graphs, made once."""

    settings: MpnnSettings

    def __init__(
        self, drawn: list[Graph], labels: NDArray[np.float32], training: int, settings: MpnnSettings, outcome: Outcome
    ) -> None:
        """`drawn` (N,): graphs of training, then validation."""
        super().__init__(settings, labels, training, outcome)
        self.settings, self.graphs = settings, drawn
        self.config = {
            "targets": labels.shape[1], "hidden": settings.hidden, "steps": settings.steps,
            "dropout": settings.dropout, "descriptors": features.DESCRIPTORS if settings.descriptors else 0,
        }  # fmt: skip

    def build(self) -> nn.Module:
        """The untrained network, which knows how the training molecules' descriptors are spread."""
        network = mpnn.build(self.config)
        if self.settings.descriptors:
            network.measure(torch.from_numpy(np.stack([one.whole for one in self.graphs[: self.examples]])))
        return network

    def batch(self, index: Tensor, generator: torch.Generator) -> Any:
        """The tensors of the graphs side by side, and labels."""
        made = graphs.batch([self.graphs[row] for row in index.tolist()])
        return made.tensors(), self.labels[index]

    def scores(self, network: nn.Module, inputs: Any) -> Tensor:
        """From the tensors of a `GraphBatch`."""
        found: Tensor = network(graphs.GraphBatch(*inputs))
        return found

    def validation(self, device: torch.device) -> Any:
        """In the order in which they stand."""
        for start in range(self.examples, len(self.graphs), CHUNK):
            yield graphs.batch(self.graphs[start : start + CHUNK]).to(str(device)).tensors()


def masked_loss(scores: Tensor, labels: Tensor, outcome: Outcome) -> Tensor:
    """Mean of (B, T) scores where the label is known, 0 where none is: binary cross-entropy of classes, squared error
    of standardised numbers."""
    known = ~labels.isnan()
    each = LOSSES[outcome.name](scores, labels.nan_to_num(), reduction="none")
    mean: Tensor = (each * known).sum() / known.sum().clamp_min(1)
    return mean
