"""What the conformance suite gives each kind to work on. A kind without an entry here fails the suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imaging.writing import secondary_capture


@dataclass(frozen=True)
class Sample:
    """Inputs of one kind: files' contents that it takes and one that it refuses, and params that keep it short."""

    good: Callable[[int], bytes] | None = None
    """The content of file number i; different for each i. None where the kind takes no files."""

    bad: bytes = b"neither DICOM nor PNG"
    params: dict[str, Any] = field(default_factory=dict)


def chest(number: int) -> bytes:
    """A DICOM of smooth shades that differs with its number."""
    rows, columns = np.mgrid[0:64, 0:64]
    pixels = (128 + 100 * np.sin(rows / (5 + number)) * np.cos(columns / 9)).astype(np.uint8)
    return secondary_capture(
        pixels, series_description="SYNTHETIC", derivation_description="Smooth noise, made for a test",
        patient_id="SYNTHETIC", modality="CR",
    )  # fmt: skip


SAMPLES: dict[str, Sample] = {
    "diagnosis": Sample(chest, params={"explain": True}),
    "toy-mean": Sample(lambda number: bytes([number + 1, number + 3]), b"BAD", {"artifact": True}),
    "toy-steps": Sample(params={"steps": 4, "step_s": 0.0}),
}
