"""The predictor of toy-mean. Some contents misbehave: that is what they are for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from jobs.errors import BadAttribute, EmptyInput, OutOfMemory, StorageUnavailable
from jobs.kinds import Params
from jobs.predicting import Encoded, ModelVersion, NewArtifact, Predictor, Source
from toy_kinds import MeanParams

BAD, KILLER, BREAKER, FLAKY, GREEDY, FOREVER = b"BAD", b"KILLER", b"BREAKER", b"FLAKY", b"GREEDY", b"FOREVER"
FAULTY = b"FAULTY"


class Numbers(NamedTuple):
    """A decoded input."""

    values: bytes | list[int]
    params: MeanParams


class Mean:
    """Takes means."""

    max_batch = 32

    def decode(self, source: Source, params: Params) -> Any:
        """Read the numbers."""
        assert isinstance(params, MeanParams)
        if source.data is not None:
            return Numbers(list(source.data["values"]), params)
        content = source.files[0].read_bytes()
        if params.sleep_s:
            time.sleep(params.sleep_s)
        if content.startswith(KILLER):
            os.kill(os.getpid(), signal.SIGKILL)
        if content.startswith(BAD):
            raise BadAttribute("This file says that it is bad.")
        if content.startswith(FLAKY):
            raise StorageUnavailable
        if content.startswith(FOREVER):
            time.sleep(3600)
        if not content:
            raise EmptyInput
        return Numbers(content, params)

    def predict(self, batch: Sequence[Any]) -> Sequence[Any]:
        """One mean per input; a breaker raises for the whole batch, a greedy one unless it is alone."""
        time.sleep(max(numbers.params.predict_s for numbers in batch))
        for numbers in batch:
            if isinstance(numbers.values, bytes) and numbers.values.startswith(BREAKER):
                raise ValueError("a batch that raises")
            if isinstance(numbers.values, bytes) and numbers.values.startswith(FAULTY):
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            if isinstance(numbers.values, bytes) and numbers.values.startswith(GREEDY) and len(batch) > 1:
                raise OutOfMemory
        return [sum(numbers.values) / max(1, len(numbers.values)) for numbers in batch]

    def encode(self, decoded: Any, output: Any, position: int) -> Encoded:
        """The entry, and a file where asked for."""
        item = {"mean": output, "size": len(decoded.values)}
        if not decoded.params.artifact:
            return Encoded(item)
        return Encoded(item, (NewArtifact(f"mean-{position}.txt", "text/plain", f"{output}\n".encode(), position),))

    def provenance(self) -> dict[str, Any]:
        """Where and how."""
        return {"device": "cpu", "precision": "float64", "threads": 1, "libraries": {}}


def load(version: ModelVersion | None, device: str) -> Predictor:
    """There is nothing to load."""
    return Mean()
