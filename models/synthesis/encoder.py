"""Features of images by the project's own frozen classifier: what KID, density and coverage are measured on.

The usual encoder of such figures was trained on photographs. These are of the shipped `chest-pneumonia`, so a figure
compares with others of that version alone, and carries its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.predicting import ModelVersion
from models.catalogue import Catalogue
from models.diagnosis.networks import Network, normalise
from models.diagnosis.pixels import network_input
from models.diagnosis.weights import load_network

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]

SHIPPED = Path(__file__).parent.parent / "shipped"
CLASSIFIER = "chest-pneumonia@1"
"""Pinned: another version would be another measure."""


@dataclass(frozen=True)
class Encoder:
    """A frozen classifier; `name` stands with every figure that is measured on its features."""

    name: str
    network: Network
    contract: Mapping[str, Any]

    @torch.no_grad()
    def features(self, images: Images) -> Floats:
        """Return the penultimate layer's features, uint8 (N, H, W) -> (N, F), resized as the classifier's contract."""
        wanted = (self.contract["input"]["rows"], self.contract["input"]["columns"])
        if images.shape[1:] != wanted:
            images = np.stack([network_input(one, self.contract) for one in images])
        batches = torch.split(normalise(images), 128)
        found = [self.network.tail(self.network.trunk(batch))[0] for batch in batches]
        return torch.cat(found).double().numpy()


@lru_cache(maxsize=1)
def shipped() -> Encoder:
    """Return the shipped classifier as encoder; raises `ModelUnusable` where its weights are damaged."""
    return encoder(Catalogue.read({SHIPPED}).resolve(CLASSIFIER))


def encoder(version: ModelVersion) -> Encoder:
    """Return the encoder of a diagnosis version that this project trained."""
    name = f"penultimate layer of {version.name}@{version.version}"
    return Encoder(name, load_network(version), version.manifest["contract"])
