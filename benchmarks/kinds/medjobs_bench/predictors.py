"""The predictors of the benchmark's kinds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from imaging.reading import display, read_image
from jobs.kinds import Params
from jobs.predicting import Encoded, ModelVersion, Source


class Noop:
    """Takes whatever waits and answers nothing."""

    max_batch = 256

    def decode(self, source: Source, params: Params) -> None:
        """Read nothing."""

    def predict(self, batch: Sequence[None]) -> Sequence[None]:
        """Compute nothing."""
        return batch

    def encode(self, decoded: None, output: None, position: int) -> Encoded:
        """An item without a probability."""
        return Encoded({"probability": None})

    def provenance(self) -> dict[str, Any]:
        """Nothing to record."""
        return {}


def load_noop(version: ModelVersion | None, device: str) -> Noop:
    """The no-op predictor."""
    return Noop()


def densenet121() -> torch.nn.Module:
    """MONAI's DenseNet-121 for one channel and one output, weights by seed 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns on import about optional packages
        from monai.networks.nets.densenet import DenseNet121
    torch.manual_seed(0)
    return DenseNet121(spatial_dims=2, in_channels=1, out_channels=1).eval()


class Densenet121:
    """224 px images through DenseNet-121, at fp32 or, where `bf16`, channels-last under autocast."""

    max_batch = 32

    def __init__(self, bf16: bool) -> None:
        """`bf16`: run under bf16 autocast; both sides of the benchmark run at the same precision."""
        self.bf16 = bf16
        self.layout = torch.channels_last if bf16 else torch.contiguous_format
        self.network = densenet121().to(memory_format=self.layout)

    def decode(self, source: Source, params: Params) -> np.ndarray:
        """(1, 224, 224) float32 in 0..1."""
        shown = display(read_image(source.files[0]), 0)
        return shown[None].astype(np.float32) / 255.0

    def predict(self, batch: Sequence[np.ndarray]) -> list[float]:
        """Probabilities of the batch."""
        images = torch.from_numpy(np.stack(batch)).to(memory_format=self.layout)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            return [float(p) for p in self.network(images).float().sigmoid()[:, 0]]

    def encode(self, decoded: np.ndarray, output: float, position: int) -> Encoded:
        """The probability."""
        return Encoded({"probability": output})

    def provenance(self) -> dict[str, Any]:
        """Device and precision."""
        return {"device": "cpu", "precision": "bf16" if self.bf16 else "fp32"}


def load_densenet121(version: ModelVersion | None, device: str) -> Densenet121:
    """The network at fp32, the precision that `benchmarks.bare` compares with by default."""
    return Densenet121(bf16=False)
