"""A predictor that sleeps instead of computing: a GPU that is busy and takes no processor time. It needs no torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from jobs.kinds import Params
from jobs.predicting import Encoded, ModelVersion, Source

BATCH, PREDICT_S = 8, 0.5
"""Sixteen jobs per second and process, however full the processors are."""


class Sleeper:
    """Takes half a second for up to eight jobs."""

    max_batch = BATCH

    def decode(self, source: Source, params: Params) -> None:
        """Read nothing."""

    def predict(self, batch: Sequence[None]) -> Sequence[None]:
        """Wait, as for a GPU."""
        time.sleep(PREDICT_S)
        return batch

    def encode(self, decoded: None, output: None, position: int) -> Encoded:
        """An item without a probability."""
        return Encoded({"probability": None})

    def provenance(self) -> dict[str, Any]:
        """Nothing to record."""
        return {}


def load(version: ModelVersion | None, device: str) -> Sleeper:
    """There is nothing to load."""
    return Sleeper()
