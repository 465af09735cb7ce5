"""The predictor of toy-scale: numbers times the model's one weight. A file holds a number on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jobs.errors import BadAttribute, EmptyInput, InputError, JobError, ModelUnusable
from jobs.kinds import Params
from jobs.predicting import Encoded, ModelVersion, Predictor, Source


def split(path: Path) -> Iterator[Source | JobError]:
    """A source for each line; a file with a NUL in it cannot be split."""
    content = path.read_bytes()
    if b"\0" in content:
        raise InputError("This file has no lines.")
    for line in content.splitlines():
        yield Source(data=line.decode())


class Scale:
    """Multiplies."""

    max_batch = 16

    def __init__(self, version: ModelVersion) -> None:
        self.version = version
        self.factor = float(json.loads((version.folder / "factor.json").read_text())["factor"])

    def decode(self, source: Source, params: Params) -> float:
        """The number that a line, or a file of one line, holds."""
        text = source.data if source.data is not None else source.files[0].read_text()
        if not text:
            raise EmptyInput
        try:
            return float(text)
        except ValueError:
            raise BadAttribute("This line holds no number.") from None

    def predict(self, batch: Sequence[Any]) -> Sequence[Any]:
        """One product per number."""
        return [number * self.factor for number in batch]

    def encode(self, decoded: Any, output: Any, position: int) -> Encoded:
        """The entry."""
        return Encoded({"scaled": output, "version": self.version.version})

    def provenance(self) -> dict[str, Any]:
        """Where and how."""
        return {"device": "cpu", "precision": "float64", "threads": 1, "libraries": {}}


def load(version: ModelVersion | None, device: str) -> Predictor:
    """Read the weight."""
    if version is None:
        raise ModelUnusable("toy-scale needs a model.")
    return Scale(version)
