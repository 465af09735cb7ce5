"""float32 or bf16: chosen per device by a measured check, never by belief.

bf16 (autocast, channels-last) is taken where on a calibration sample every probability stays within TOLERANCE, every
decision and every "far from the training data" stays the same, and a batch takes less time. The sample is drawn from
the class means that stand beside the weights, so that no patient's image ships: mixtures of them, from all of one
class to all of the other, with smooth noise, which puts images on both sides of the threshold.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from models.diagnosis.predictor import DiagnosisPredictor

TOLERANCE = 0.01
SAMPLE = 64
ROUNDS = 5
WORTH = 0.95
"""Share of float32's time below which bf16 is worth its rounding."""


@dataclass(frozen=True)
class Choice:
    """The precision, and what was measured: times per batch of SAMPLE images, greatest difference, same decisions."""

    precision: str
    fp32_ms: float
    bf16_ms: float
    largest_difference: float
    same_decisions: bool

    def as_dict(self) -> dict[str, Any]:
        """What provenance records."""
        return asdict(self)


_chosen: dict[tuple[str, str, int], Choice] = {}
_lock = threading.Lock()


def choose(predictor: DiagnosisPredictor, prototypes: Tensor, weights: str) -> Choice:
    """Return the precision for these weights on this device; measured once per process, device and thread count."""
    key = (weights, str(predictor.device), torch.get_num_threads())
    with _lock:
        if key not in _chosen:
            _chosen[key] = _measure(predictor, sample(prototypes))
        return _chosen[key]


def sample(prototypes: Tensor, seed: int = 0) -> NDArray[np.uint8]:
    """Return SAMPLE images (SAMPLE, H, W) between the class means (classes, H, W) uint8, with smooth noise."""
    random = torch.Generator().manual_seed(seed)
    means = prototypes.float()
    share = torch.linspace(-0.5, 1.5, SAMPLE).view(-1, 1, 1)
    noise = torch.randn(SAMPLE, 1, 7, 7, generator=random) * 16
    smooth = torch.nn.functional.interpolate(noise, tuple(means.shape[1:]), mode="bicubic")[:, 0]
    mixed = means[0] * (1 - share) + means[-1] * share + smooth
    images: NDArray[np.uint8] = mixed.clamp(0, 255).to(torch.uint8).numpy()
    return images


def _measure(predictor: DiagnosisPredictor, images: NDArray[np.uint8]) -> Choice:
    threshold = float(predictor.manifest["labels"][0]["threshold"])
    plain, _ = predictor.scores(images, "fp32")
    short, _ = predictor.scores(images, "bf16")
    a, b = np.array(plain.probabilities), np.array(short.probabilities)
    gap = float(np.abs(a - b).max())
    positive = predictor.positive
    same = bool(((a[:, positive] >= threshold) == (b[:, positive] >= threshold)).all())
    familiar = [(np.array(s.distance) <= 1) & (np.array(s.energy) <= 0) for s in (plain, short)]
    same = same and bool((familiar[0] == familiar[1]).all())
    times = {name: _fastest(predictor, images, name) for name in ("fp32", "bf16")}
    wins = gap <= TOLERANCE and same and times["bf16"] < WORTH * times["fp32"]
    chosen = "bf16" if wins else "fp32"
    return Choice(chosen, round(times["fp32"] * 1e3, 2), round(times["bf16"] * 1e3, 2), round(gap, 5), same)


def _fastest(predictor: DiagnosisPredictor, images: NDArray[np.uint8], name: str) -> float:
    """Return the shortest of ROUNDS times, in seconds: what disturbs a measurement only ever makes it longer."""
    found = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        predictor.scores(images, name)
        found.append(time.perf_counter() - begun)
    return min(found)
