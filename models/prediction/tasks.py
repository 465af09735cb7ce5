"""What the training loop is handed for each network of this kind: its batches, its loss, its optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.prediction.encoding import TENSORS, Batch
from models.prediction.networks import build
from models.prediction.recipes import DiscreteTimeSurvival, LstmBasic, NetworkSettings, SurvivalRecipe
from models.training.task import Task

WARMUP = 0.05


@dataclass
class RiskTask(Task):
    """A network with one logit per patient, by binary cross-entropy without weights of the classes."""

    architecture: str
    config: Mapping[str, Any]
    data: Batch
    rows: Tensor  # (R,) int64, the patients of `data` that it is trained on
    label: Tensor  # (N,) float32, 0 or 1
    settings: NetworkSettings | LstmBasic
    start: nn.Module | None = None
    """A network of the same architecture whose weights the training starts from, instead of random ones."""

    def __post_init__(self) -> None:
        self.examples, self.batch_size = len(self.rows), self.settings.batch
        if isinstance(self.settings, NetworkSettings):
            self.ema, self.clip = self.settings.ema, 1.0

    def build(self) -> nn.Module:
        """Return the untrained network."""
        return _begun(build(self.architecture, self.config), self.start)

    def batch(self, index: Tensor, generator: torch.Generator) -> Any:
        """Return (arrays, labels) of the patients at `index`, thinned out where the settings say so."""
        chosen = self.rows[index]
        arrays = _arrays(self.data, chosen)
        if isinstance(self.settings, NetworkSettings) and self.settings.thinning:
            keep = thinned(arrays["count"].shape, self.settings.thinning, generator)
            arrays.update({name: arrays[name] * keep for name in ("value", "low", "high", "last", "count")})
        return arrays, self.label[chosen]

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the mean cross-entropy."""
        arrays, label = batch
        return nn.functional.binary_cross_entropy_with_logits(network(as_batch(arrays)), label)

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Return AdamW with decay of kernels alone; plain Adam for lstm-basic."""
        if isinstance(self.settings, LstmBasic):
            return torch.optim.Adam(network.parameters(), lr=self.settings.learning_rate)
        return _adamw(network, self.settings.learning_rate, self.settings.weight_decay)

    def schedule(self, done: float) -> float:
        """Return the factor of the learning rate: a short warm-up, then half a cosine; constant for lstm-basic."""
        return 1.0 if isinstance(self.settings, LstmBasic) else cosine(done)


@dataclass
class HazardTask(Task):
    """Discrete hazards after every visit, by the likelihood of what followed (Gensheimer and Narasimhan 2019).

    `at_risk`, `event` (N, T, K): whether the patient entered the interval and whether the event fell into it, after
    each visit. The visits of one patient are alike: each counts by 1 / sqrt(their number).
    """

    config: Mapping[str, Any]
    data: Batch
    rows: Tensor
    at_risk: Tensor
    event: Tensor
    settings: SurvivalRecipe
    start: nn.Module | None = None
    """As of `RiskTask`."""

    def __post_init__(self) -> None:
        self.examples, self.batch_size = len(self.rows), self.settings.batch
        self.ema, self.clip = 0.0, 1.0
        visits = self.at_risk.any(dim=2).sum(dim=1).clamp_min(1)  # (N,)
        self.weight = self.at_risk * visits.rsqrt()[:, None, None]

    def build(self) -> nn.Module:
        """Return the untrained network."""
        return _begun(build("survival-gru", self.config), self.start)

    def batch(self, index: Tensor, generator: torch.Generator) -> Any:
        """Return (arrays, weights, events) of the patients at `index`."""
        chosen = self.rows[index]
        return _arrays(self.data, chosen), self.weight[chosen], self.event[chosen]

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the weighted mean over patients, visits and intervals at risk, and the penalty of the linear part."""
        arrays, weight, event = batch
        each = nn.functional.binary_cross_entropy_with_logits(network(as_batch(arrays)), event, reduction="none")
        linear: Tensor = network.get_parameter("linear.weight")
        mean = (each * weight).sum() / weight.sum().clamp_min(1e-9)
        penalised: Tensor = mean + self.settings.shrink * linear.square().sum()
        return penalised

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Return AdamW; its decay falls on the recurrent part alone, the linear one has its penalty."""
        decay = self.settings.weight_decay if isinstance(self.settings, DiscreteTimeSurvival) else 0.0
        return _adamw(network, self.settings.learning_rate, decay, spared=("linear.weight",))

    def schedule(self, done: float) -> float:
        """Return the factor of the learning rate."""
        return cosine(done)


def thinned(shape: torch.Size, share: float, generator: torch.Generator) -> Tensor:
    """Return a mask (N, T, V) that leaves out whole variables and whole bins, each with half of `share`."""
    count, bins, variables = shape
    columns = torch.rand(count, 1, variables, generator=generator) > share / 2
    rows = torch.rand(count, bins, 1, generator=generator) > share / 2
    return (columns & rows).float()


def cosine(done: float) -> float:
    """Return a linear warm-up to 1, then half a cosine to 0."""
    return min(1.0, (done + 1e-3) / WARMUP) * 0.5 * (1 + math.cos(math.pi * done))


def as_batch(arrays: Mapping[str, Tensor]) -> Batch:
    """Return the batch of what `Task.batch` sent through the loop."""
    return Batch(**{name: arrays[name] for name in TENSORS}, time=arrays["time"].cpu().numpy())


def _begun(network: nn.Module, start: nn.Module | None) -> nn.Module:
    if start is not None:
        network.load_state_dict(start.state_dict())
    return network


def _arrays(data: Batch, index: Tensor) -> dict[str, Tensor]:
    chosen = data.take(index)
    return {**{name: getattr(chosen, name) for name in TENSORS}, "time": torch.from_numpy(chosen.time)}


def _adamw(network: nn.Module, rate: float, decay: float, spared: tuple[str, ...] = ()) -> torch.optim.Optimizer:
    """AdamW that decays kernels, but not biases, vectors or what is `spared`."""
    named = list(network.named_parameters())
    kernels = [p for name, p in named if p.ndim > 1 and name not in spared]
    others = [p for name, p in named if p.ndim <= 1 or name in spared]
    groups = [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=rate)
