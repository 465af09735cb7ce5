"""What a kind hands to the training loop: one network to be fitted, described by what only the kind knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "bf16", "fp16"]
"""Of the forward pass, by autocast. On a CPU "fp16" means bf16, which is the half precision that CPUs have."""


class Task(ABC):
    """One network to be trained: its examples, batches, loss and optimizer. Subclasses are often dataclasses.

    Every method that draws at random does so from torch alone: the loop seeds torch, and the generator it hands over,
    anew for each step, so that a step depends on nothing that came before it. A method must not keep state from step
    to step, for the same reason.
    """

    examples: int
    """Number of training examples; the loop draws a fresh order of them for every epoch."""

    batch_size: int = 128
    """Examples per step, over all devices. The last batch of an epoch may be smaller."""

    precision: Precision = "fp32"
    ema: float = 0.0
    """Decay per step of the averaged weights that are validated and returned; 0 returns the last step's."""

    clip: float | None = None
    """Largest norm of the gradient over all parameters."""

    monitor: str | None = None
    """Name of the figure of `validate` (more is better) whose best weights are returned; None returns the last."""

    patience: int | None = None
    """With `monitor`: epochs without a better figure after which training ends early."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The untrained network on the CPU, drawn from torch's seeded generator."""

    @abstractmethod
    def batch(self, index: Tensor, generator: torch.Generator) -> Any:
        """The (augmented) examples at `index` (int64, on the CPU): tensors, or tuples, lists, dicts of tensors."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Mean loss over a batch (moved to the network's device), a scalar; every parameter has a part in it."""

    def loss_of(self, step: int) -> Callable[[nn.Module, Any], Tensor]:
        """The loss of a step (from 0); `loss` unless a task's parts are trained in turn, as those of a GAN.

        A parameter that a turn's loss does not reach has no gradient then, and the optimizer leaves it as it is.
        """
        return self.loss

    @abstractmethod
    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """A fresh optimizer of the network's parameters, with their full learning rates."""

    def schedule(self, done: float) -> float:
        """Factor of the learning rates when the share `done` (0 <= done < 1) of the steps lies behind."""
        return 1.0

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures after an epoch, cheap; `network` is in evaluation mode on its device, gradients are off."""
        return {}

    def picture(self, network: nn.Module) -> bytes | None:
        """A PNG by which a person sees what the network has learnt so far, drawn a few times; None: there is none.

        `network` is as in `validate`.
        """
        return None


@dataclass(frozen=True)
class Planned:
    """A fit that a training is going to make: its task, and the epochs that the full recipe gives it."""

    task: Task
    epochs: float
