"""The state of a fit as a checkpoint keeps it: safetensors for every tensor, JSON for the rest, nothing pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from models.training.stepping import Stepper

State = dict[str, Tensor]


@dataclass
class Standing:
    """How far a fit is, besides its tensors. `best`: the weights of the best figure so far, None before there is one.

    `sum` is the loss gathered since the last point of the curve, over `gathered` steps.
    """

    step: int = 0
    best: State | None = None
    best_value: float | None = None
    best_epoch: int = -1
    sum: Tensor = field(default_factory=lambda: torch.zeros(()))
    gathered: int = 0
    stopped: bool = False


def packed(stepper: Stepper, standing: Standing) -> tuple[bytes, dict[str, Any]]:
    """(safetensors file, JSON) of a fit between two steps."""
    optimizer = stepper.optimizer.state_dict()
    tensors = _named("network", stepper.network.state_dict())
    if stepper.averaged is not None:
        tensors |= _named("averaged", stepper.averaged.state_dict())
    if standing.best is not None:
        tensors |= _named("best", standing.best)
    tensors["sum"] = standing.sum
    plain: dict[str, dict[str, Any]] = {}
    for number, values in optimizer["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{number}.{name}"] = value
            else:
                plain.setdefault(str(number), {})[name] = value
    said = {
        "step": standing.step,
        "best_value": standing.best_value,
        "best_epoch": standing.best_epoch,
        "gathered": standing.gathered,
        "stopped": standing.stopped,
        "micro": stepper.micro,
        "optimizer": plain,
        "scaler": stepper.scaler.state_dict(),
    }
    return to_bytes(tensors), said


def restore(stepper: Stepper, content: bytes, said: Mapping[str, Any]) -> Standing:
    """Put a packed fit back; raises RuntimeError, ValueError or KeyError where it does not fit the task."""
    tensors = safetensors.torch.load(content)
    stepper.network.load_state_dict(_under("network", tensors))
    if stepper.averaged is not None:
        stepper.averaged.load_state_dict(_under("averaged", tensors))
    _restore_optimizer(stepper.optimizer, tensors, said["optimizer"])
    stepper.scaler.load_state_dict(dict(said["scaler"]))
    stepper.micro = int(said["micro"])
    best = {name: value.to(stepper.device) for name, value in _under("best", tensors).items()}
    return Standing(
        step=int(said["step"]),
        best=best or None,
        best_value=said["best_value"],
        best_epoch=int(said["best_epoch"]),
        sum=tensors["sum"].to(stepper.device),
        gathered=int(said["gathered"]),
        stopped=bool(said["stopped"]),
    )


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: State, plain: Mapping[str, Any]) -> None:
    """The groups and their settings are those of the fresh optimizer: the same task makes them anew.

    A moment gets the memory layout of its parameter back (channels-last, say): in another one the same numbers are
    added by other instructions, which may round otherwise.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    values: dict[int, dict[str, Any]] = {int(number): dict(of) for number, of in plain.items()}
    for name, value in _under("optimizer", tensors).items():
        number, _, key = name.partition(".")
        like = parameters[int(number)]
        same = torch.empty_like(like, dtype=value.dtype).copy_(value) if value.shape == like.shape else value
        values.setdefault(int(number), {})[key] = same
    optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})


def to_bytes(state: Mapping[str, Tensor]) -> bytes:
    """A safetensors file of tensors from any device, each with memory of its own."""
    return safetensors.torch.save({name: value.detach().cpu().contiguous().clone() for name, value in state.items()})


def copied(state: Mapping[str, Tensor]) -> State:
    """A copy that later steps do not change."""
    return {name: value.detach().clone() for name, value in state.items()}


def _named(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {f"{prefix}.{name}": value for name, value in state.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> State:
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
