"""What a training ran in: libraries, processor, threads. Enough to tell why another run differs in the last bit."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

LIBRARIES = ("torch", "numpy", "lightgbm", "safetensors")


def environment(device: str) -> dict[str, Any]:
    """As a manifest records it."""
    cuda = device.startswith("cuda")
    return {
        "python": platform.python_version(),
        **{name: installed(name) for name in LIBRARIES},
        "device": device,
        "device_name": torch.cuda.get_device_name(device) if cuda else platform.machine(),
        "threads": torch.get_num_threads(),
        "instruction_set": None if cuda else torch.backends.cpu.get_cpu_capability(),
    }


def deciding(device: str) -> dict[str, Any]:
    """What decides the last bits of the weights, besides the threads: those are kept by the plan."""
    said = environment(device)
    return {name: said[name] for name in ("torch", "numpy", "lightgbm", "device_name", "instruction_set")}


def installed(name: str) -> str | None:
    """A package's version; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@contextmanager
def repeatable() -> Iterator[None]:
    """On a GPU only algorithms that always add in one order; afterwards these and the threads are as before."""
    before, deterministic = torch.get_num_threads(), torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.backends.cudnn.deterministic = deterministic
