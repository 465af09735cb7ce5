"""jobs.predicting.Predictor of the kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from jobs.kinds import Params
from jobs.predicting import Encoded, ModelVersion, Source
from stripes import StripesParams
from stripes.network import Network, prepared


@dataclass(frozen=True)
class Decoded:
    """A picture (8, 8), and what was asked for."""

    pixels: NDArray[np.float32]
    params: StripesParams


class StripesPredictor:
    """One version on one device."""

    max_batch = 64

    def __init__(self, network: Network, device: str) -> None:
        self.network, self.device = network.to(device).eval(), device

    def decode(self, source: Source, params: Params) -> Decoded:
        """The API has checked the shape."""
        assert isinstance(params, StripesParams)
        return Decoded(np.array(source.data["pixels"], np.float32), params)

    def predict(self, batch: Sequence[Decoded]) -> list[float]:
        """The probability of each."""
        with torch.inference_mode():
            logits = self.network(prepared(np.stack([one.pixels for one in batch])).to(self.device))
        return [float(probability) for probability in logits.sigmoid()]

    def encode(self, decoded: Decoded, output: float, position: int) -> Encoded:
        """As `StripesItem` says."""
        return Encoded({"probability": output, "striped": output >= decoded.params.threshold})

    def provenance(self) -> dict[str, Any]:
        """Where and how."""
        libraries = {"torch": torch.__version__}
        return {"device": self.device, "precision": "float32", "threads": 1, "libraries": libraries}


def load(version: ModelVersion, device: str) -> StripesPredictor:
    """The predictor of a trained version."""
    network = Network()
    network.load_state_dict(load_file(version.folder / "weights.safetensors"))
    return StripesPredictor(network, device)
