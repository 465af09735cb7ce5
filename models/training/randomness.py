"""Seeds derived from a job's seed and from what they are for, so that no state of a generator is ever kept."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def derived(seed: int, *purpose: str | int) -> int:
    """A seed of 63 bits for a purpose, such as ("member-1", "epoch", 3): equal on every machine, unlike hash()."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A generator on the CPU that starts from the derived seed."""
    return torch.Generator().manual_seed(derived(seed, *purpose))


def order(seed: int, label: str, epoch: int, examples: int) -> Tensor:
    """The order of the examples in an epoch (from 0), (examples,) int64."""
    return torch.randperm(examples, generator=generator(seed, label, "order", epoch))
