"""A trained generator that draws: the same picture for the same seed, class and place, whatever is asked beside it.

Every picture has a random stream of its own, the arithmetic is in double precision, and a batch has one size always,
so that picture 7 of a seed is the same however many are asked for at once. Weights are stored in half precision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jobs.errors import InputError, ModelUnusable
from jobs.predicting import ModelVersion
from models.synthesis.networks import Architecture, Gan

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

WEIGHTS = "weights.safetensors"
BATCH = 64


@dataclass(frozen=True, eq=False)
class Generator:
    """A generator in double precision and evaluation mode; it is not changed by use."""

    network: nn.Module
    architecture: Architecture
    classes: tuple[str, ...]

    def draw(self, labels: Sequence[int], places: Sequence[int], seed: int) -> Images:
        """Return the pictures at `places` of the series of `seed`, one of each class in `labels`: uint8 (N, H, W)."""
        found = [
            self._batch(labels[at : at + BATCH], places[at : at + BATCH], seed) for at in range(0, len(places), BATCH)
        ]
        side = self.architecture.side
        return np.concatenate(found) if found else np.empty((0, side, side), dtype=np.uint8)

    def series(self, count: int, label: int, seed: int) -> Images:
        """Return the first `count` pictures of one class: uint8 (count, H, W)."""
        return self.draw([label] * count, range(count), seed)

    def position(self, name: str) -> int:
        """The class of that name; raises `InputError` that lists what there is."""
        if name not in self.classes:
            raise InputError(f"The generator knows no class of that name; class is one of: {', '.join(self.classes)}.")
        return self.classes.index(name)

    @torch.no_grad()
    def _batch(self, labels: Sequence[int], places: Sequence[int], seed: int) -> Images:
        noise = np.zeros((BATCH, self.architecture.noise))
        y = np.zeros(BATCH, dtype=np.int64)
        for row, (label, place) in enumerate(zip(labels, places, strict=True)):
            # NumPy promises that this stream stays the same.
            noise[row] = np.random.Generator(np.random.PCG64([seed, label, place])).standard_normal(noise.shape[1])
            y[row] = label
        drawn = self.network(torch.from_numpy(noise), torch.from_numpy(y))[: len(places), 0]
        pixels: Images = ((drawn + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
        return pixels


def packed(network: nn.Module) -> bytes:
    """Return the weights of a generator (without its discriminator) as a file, in half precision."""
    return safetensors.torch.save({name: _half(value) for name, value in network.state_dict().items()})


def unpacked(content: bytes, architecture: Architecture, classes: tuple[str, ...]) -> Generator:
    """Return the generator that `packed` stored; raises RuntimeError where the weights do not fit."""
    stored = safetensors.torch.load(content)
    network: nn.Module = architecture.build().generator
    network.load_state_dict(stored)
    network.double()
    return Generator(network.eval().requires_grad_(False), architecture, classes)


def load(version: ModelVersion) -> Generator:
    """Return a version's generator; raises `ModelUnusable` where its weights are missing, changed or do not fit."""
    return _loaded(version.folder, version.name, version.version, _frozen(version))


@lru_cache(maxsize=2)
def _loaded(folder: Path, name: str, number: int, said: tuple[str, Architecture, tuple[str, ...]]) -> Generator:
    sha256, architecture, classes = said
    again = f"of {name}@{number}"
    try:
        content = (folder / WEIGHTS).read_bytes()
    except OSError as cause:
        raise ModelUnusable(f"The weights {again} cannot be read; install the model again.") from cause
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelUnusable(f"The weights {again} differ from the manifest's sha256; install the model again.")
    try:
        return unpacked(content, architecture, classes)
    except (ValueError, RuntimeError) as cause:
        raise ModelUnusable(f"The weights {again} do not fit its manifest; install the model again.") from cause


def _frozen(version: ModelVersion) -> tuple[str, Architecture, tuple[str, ...]]:
    manifest = version.manifest
    try:
        network, classes = manifest["network"], tuple(manifest["classes"])
        built = Architecture(network["name"], len(classes), **network["config"])
        return str(manifest["weights"]["sha256"]), built, classes
    except (KeyError, TypeError) as cause:
        detail = f"The manifest of {version.name}@{version.version} describes no generator of images."
        raise ModelUnusable(detail) from cause


def generator_of(gan: Gan) -> nn.Module:
    """The half of a trained GAN that draws."""
    network: nn.Module = gan.generator
    return network


def _half(value: Tensor) -> Tensor:
    return (value.half() if value.is_floating_point() else value).contiguous()
