"""Which precision a network runs at on a device: measured, never assumed.

bf16 with channels-last is taken where it is faster and agrees with float32 on the model's own sample images:
probabilities within .01 and the same decisions. What was found is recorded in each result's provenance.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from models.diagnosis.folding import folded
from models.diagnosis.networks import Network

TOLERANCE = 0.01
"""Largest difference of a probability that counts as agreement."""

GAIN = 0.85
"""bf16 must need less than this share of float32's time, or it is not worth a second set of roundings."""


@dataclass(frozen=True)
class Precision:
    """What was chosen: `name` is "fp32" or "bf16"; `difference` the largest of a probability; `speed` a ratio."""

    name: str
    difference: float
    same_decisions: bool
    speed: float

    def as_dict(self) -> dict[str, str | float | bool]:
        """Return it as provenance records it."""
        return {
            "precision": self.name,
            "bf16_largest_difference": round(self.difference, 5),
            "bf16_same_decisions": self.same_decisions,
            "bf16_times_fp32_speed": round(self.speed, 2),
        }


def convert(network: Network, precision: str, device: str) -> Network:
    """Return a copy of the network on a device at "fp32" or "bf16" (channels-last), its norms folded."""
    moved = folded(network).to(device)
    if precision == "bf16":
        moved = moved.to(torch.bfloat16).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved.eval()


def shaped(x: Tensor, precision: str, device: str) -> Tensor:
    """Return network input (N, 1, H, W) as `convert`'s network of that precision wants it."""
    if precision == "bf16":
        return x.to(device, torch.bfloat16).contiguous(memory_format=torch.channels_last)
    return x.to(device)


def choose_precision(
    network: Network, sample: Tensor, device: str, temperature: float, positive: int, threshold: float
) -> tuple[Network, Precision]:
    """Return the network, ready on `device`, and what was measured on `sample` (N, 1, H, W).

    Costs a few batches at load: each precision runs once to warm up and three times for the clock.
    """
    ready = {name: convert(network, name, device) for name in ("fp32", "bf16")}
    outputs: dict[str, Tensor] = {}
    seconds: dict[str, float] = {}
    with torch.inference_mode():
        for name, candidate in ready.items():
            x = shaped(sample, name, device)
            outputs[name] = (candidate(x).float().cpu() / temperature).softmax(dim=1)[:, positive]
            times = []
            for _ in range(3):
                start = time.perf_counter()
                candidate(x).float().cpu()
                times.append(time.perf_counter() - start)
            seconds[name] = min(times)
    difference = float((outputs["fp32"] - outputs["bf16"]).abs().max())
    same = bool(((outputs["fp32"] >= threshold) == (outputs["bf16"] >= threshold)).all())
    speed = seconds["fp32"] / seconds["bf16"]
    name = "bf16" if difference <= TOLERANCE and same and seconds["bf16"] <= GAIN * seconds["fp32"] else "fp32"
    return ready[name], Precision(name, difference, same, speed)
