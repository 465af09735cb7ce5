"""The predictor of toy-hungry: the same as toy-mean, on a device that soon has no memory left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs.predicting import ModelVersion, Predictor
from toy_kinds.mean import Mean

ROOM = 2
"""Items for which a GPU has memory at once."""


class OutOfMemoryError(RuntimeError):
    """torch's, by its name: importing torch for it would take seconds."""


class Hungry(Mean):
    """On a GPU there is memory for two items, and for none that begins with a zero."""

    def __init__(self, device: str) -> None:
        self.device = device

    def predict(self, batch: Sequence[Any]) -> Sequence[Any]:
        """One mean per input."""
        if self.device != "cpu" and (len(batch) > ROOM or any(numbers.values[0] == 0 for numbers in batch)):
            raise OutOfMemoryError("CUDA out of memory.")
        return super().predict(batch)

    def provenance(self) -> dict[str, Any]:
        """Where and how."""
        return {**super().provenance(), "device": self.device}


def load(version: ModelVersion | None, device: str) -> Predictor:
    """There is nothing to load."""
    return Hungry(device)
