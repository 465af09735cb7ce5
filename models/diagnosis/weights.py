"""Weights as data: a safetensors file, small enough to ship, checked by its sha256 before it is read.

A convolution or dense kernel of 4,096 numbers or more is stored as int8 with one float32 scale per output channel
(`<name>` and `<name>.scale`); everything else stays float32. Networks run in float32 or bf16 as before: only the file
is small. Metrics on a card are always those of the weights as they read back from the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from jobs.errors import ModelUnusable
from jobs.predicting import ModelVersion
from models.diagnosis.networks import Network, build

SCALE = ".scale"
SMALLEST = 4096
"""Kernels below this many numbers are left as they are: all of them together are a few kilobytes."""


def pack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors to store for a state dict, kernels as int8 with their scales."""
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        if not value.is_floating_point() or value.ndim < 2 or value.numel() < SMALLEST:
            packed[name] = value.detach().clone().contiguous()
            continue
        scale = value.detach().abs().amax(dim=tuple(range(1, value.ndim)), keepdim=True).clamp_min(1e-12) / 127
        packed[name] = (value.detach() / scale).round().to(torch.int8).contiguous()
        packed[name + SCALE] = scale.flatten().contiguous()
    return packed


def unpack(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict (float32 kernels) that `pack` stored."""
    state: dict[str, Tensor] = {}
    for name, value in stored.items():
        if name.endswith(SCALE):
            continue
        if name + SCALE in stored:
            scale = stored[name + SCALE].view(-1, *[1] * (value.ndim - 1))
            state[name] = value.float() * scale
        else:
            state[name] = value.clone()
    return state


def packed(state: Mapping[str, Tensor], extra: Mapping[str, Tensor]) -> bytes:
    """Return the file of a packed state dict and the tensors of `extra` (names start with "extra.")."""
    return safetensors.torch.save({**pack(state), **{f"extra.{name}": value for name, value in extra.items()}})


def save(path: Path, state: Mapping[str, Tensor], extra: Mapping[str, Tensor]) -> str:
    """Write that file; return its sha256."""
    content = packed(state, extra)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load(path: Path, sha256: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return (state dict, extra tensors); raises `ModelUnusable` where the file is missing or was changed."""
    try:
        content = path.read_bytes()
    except OSError as cause:
        raise ModelUnusable(f"The weights {path.name} cannot be read; install the model again.") from cause
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelUnusable(f"The weights {path.name} differ from the manifest's sha256; install the model again.")
    stored = safetensors.torch.load(content)
    extra = {name.removeprefix("extra."): value for name, value in stored.items() if name.startswith("extra.")}
    return unpack({name: value for name, value in stored.items() if not name.startswith("extra.")}), extra


def load_version(version: ModelVersion) -> tuple[Network, dict[str, Tensor]]:
    """Return a version's network, float32 and in evaluation mode, and its extra tensors; raises `ModelUnusable`."""
    manifest = version.manifest
    state, extra = load(version.folder / str(manifest["weights"]["file"]), str(manifest["weights"]["sha256"]))
    try:
        network = build(manifest["network"]["name"], len(manifest["classes"]), dict(manifest["network"]["config"]))
        network.load_state_dict(state)
    except (ValueError, RuntimeError, KeyError) as cause:
        name = f"{version.name}@{version.version}"
        raise ModelUnusable(f"The weights of {name} do not fit its manifest; install the model again.") from cause
    return network.eval(), extra


def load_network(version: ModelVersion) -> Network:
    """Return a version's network alone, float32 and in evaluation mode; raises `ModelUnusable`."""
    return load_version(version)[0]
