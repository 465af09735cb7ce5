"""The shipped generator of small chest pictures: `load` it, then `generate` by class and seed.

Every picture has a random stream of its own, drawn from seed, class and place in the series, and the arithmetic is in
double precision: picture 7 of a seed is the same picture however many are asked for at once.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from models.synthesis.fitting import Flow, FlowRecipe
from models.synthesis.flow import Basis, Velocity, integrate

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the shipped weights: `card.json` and `weights.safetensors`."""
LABELS = ("normal", "pneumonia")
"""Classes in the order of PneumoniaMNIST: class 0, class 1."""
STEPS = 40
"""Steps of the integration."""
_BATCH = 64


@dataclass(frozen=True)
class ChestGenerator:
    """A loaded generator; it is not changed by use."""

    basis: Basis
    network: Velocity

    def generate(self, count: int, label: int, seed: int) -> NDArray[np.uint8]:
        """Return the first `count` pictures of class `label` of the series `seed`: uint8 (count, 28, 28)."""
        if not 0 <= label < len(LABELS):
            raise ValueError(f"label is {label}; this generator knows " + ", ".join(map(str, enumerate(LABELS))))
        if count < 0 or seed < 0:
            raise ValueError(f"count and seed must not be negative (got {count} and {seed})")
        batches = [self._batch(range(at, min(at + _BATCH, count)), label, seed) for at in range(0, count, _BATCH)]
        return np.concatenate(batches) if batches else self.basis.images(self._noise(range(0), label, seed))

    def _batch(self, places: range, label: int, seed: int) -> NDArray[np.uint8]:
        """Return the pictures at `places` of the series."""
        return self.basis.images(integrate(self.network, self._noise(places, label, seed), label, STEPS))

    def _noise(self, places: range, label: int, seed: int) -> torch.Tensor:
        """Return one row of standard normal noise per place, (N, K) float64; NumPy's streams are stable by promise."""
        noise = np.empty((len(places), len(self.basis.scale)))
        for row, place in enumerate(places):
            noise[row] = np.random.Generator(np.random.PCG64([seed, label, place])).standard_normal(noise.shape[1])
        return torch.from_numpy(noise)


def from_flow(flow: Flow) -> ChestGenerator:
    """Return a generator of what training returned, rounded to half precision as the shipped weights are."""
    return _from_tensors(_tensors(flow))


@lru_cache(maxsize=2)
def load(path: Path = WEIGHTS) -> ChestGenerator:
    """Load the folder `path`. Raises ValueError where the weights are not the ones that the card was written for."""
    card = json.loads((path / "card.json").read_text(encoding="utf-8"))
    content = (path / card["weights"]["file"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != card["weights"]["sha256"]:
        raise ValueError(
            f"The generator's weights {card['weights']['file']} differ from the sha256 on their card: the file is "
            "damaged or was changed. Install medjobs again, or train with `python -m models.synthesis.make`."
        )
    return _from_tensors(load_tensors(content))


def generate(count: int, label: int, seed: int) -> NDArray[np.uint8]:
    """Return `count` pictures of class `label` by the shipped generator: uint8 (count, 28, 28)."""
    return load().generate(count, label, seed)


def save(path: Path, flow: Flow, recipe: FlowRecipe, card: dict[str, Any]) -> None:
    """Write weights and card into the folder `path`; `card` is what it says beside recipe, file, size and sha256."""
    content = save_tensors(_tensors(flow))
    weights = {"file": "weights.safetensors", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.mkdir(parents=True, exist_ok=True)
    (path / "weights.safetensors").write_bytes(content)
    whole = {**card, "recipe": asdict(recipe), "weights": weights}
    (path / "card.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def _tensors(flow: Flow) -> dict[str, torch.Tensor]:
    """Return basis and network as half-precision tensors by name; sizes follow from their shapes."""
    basis = {"basis.mean": flow.basis.mean, "basis.axes": flow.basis.axes, "basis.scale": flow.basis.scale}
    network = {f"network.{name}": tensor for name, tensor in flow.network.state_dict().items()}
    return {name: tensor.half().contiguous() for name, tensor in (basis | network).items()}


def _from_tensors(tensors: dict[str, torch.Tensor]) -> ChestGenerator:
    """Return the generator, in double precision, that the tensors by name describe."""
    double = {name: tensor.double() for name, tensor in tensors.items()}
    basis = Basis(double["basis.mean"], double["basis.axes"], double["basis.scale"])
    state = {name.removeprefix("network."): tensor for name, tensor in double.items() if name.startswith("network.")}
    width, components = state["enter.weight"].shape
    blocks = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    network = Velocity(components, len(state["label.weight"]), width, blocks).double()
    network.load_state_dict(state)
    return ChestGenerator(basis, network.eval().requires_grad_(False))
