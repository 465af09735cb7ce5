"""What the conformance suite gives each kind to work on. A kind without an entry here fails the suite."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imaging.writing import secondary_capture
from jobs.predicting import ModelVersion
from models.prediction.examples import icu


@dataclass(frozen=True)
class Sample:
    """Inputs of one kind: files' contents that it takes and one that it refuses, and params that keep it short."""

    good: Callable[[int], bytes] | None = None
    """The content of file number i; different for each i. None where the kind takes no files."""

    bad: bytes = b"neither DICOM nor PNG"
    params: dict[str, Any] = field(default_factory=dict)
    version: Callable[[Path], ModelVersion] | None = None
    """A small version, made in a folder, for a kind whose default model this checkout does not hold."""

    seeded: bool = True
    """Of a long kind: whether the seed decides what comes out."""

    cases: Callable[[], bytes] | None = None
    """A MedMNIST npz: the data set that the params name, for a kind that needs one."""


def chest(number: int) -> bytes:
    """A DICOM of smooth shades that differs with its number."""
    rows, columns = np.mgrid[0:64, 0:64]
    pixels = (128 + 100 * np.sin(rows / (5 + number)) * np.cos(columns / 9)).astype(np.uint8)
    return secondary_capture(
        pixels, series_description="SYNTHETIC", derivation_description="Smooth noise, made for a test",
        patient_id="SYNTHETIC", modality="CR",
    )  # fmt: skip


def small_set(number: int) -> bytes:
    """An npz as MedMNIST's of 60 images a part, of two classes."""
    random, packed = np.random.default_rng(number), io.BytesIO()
    arrays: dict[str, Any] = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = random.integers(0, 256, (60, 28, 28)).astype(np.uint8)
        arrays[f"{part}_labels"] = np.arange(60)[:, None] % 2
    np.savez(packed, **arrays)
    return packed.getvalue()


def made_up_prediction(folder: Path) -> ModelVersion:
    """Loads torch, so its module is imported only here."""
    from tests.prediction_version import version

    return version(folder)


def made_up_screening(folder: Path) -> ModelVersion:
    """Loads torch and RDKit, so its module is imported only here."""
    from tests.screening_data import version

    return version(folder)


def untrained_generator(folder: Path) -> ModelVersion:
    """Loads torch, so its module is imported only here."""
    from tests.synthetic_shapes import version

    return version(folder, name="chest-gan")


SAMPLES: dict[str, Sample] = {
    "dataset": Sample(small_set),
    "diagnosis": Sample(chest, params={"explain": True}),
    "prediction": Sample(
        lambda number: json.dumps(icu(number + 1)).encode(), b"neither JSON nor a table", version=made_up_prediction
    ),
    "screening": Sample(
        lambda number: f"CCO\n{'C' * (number + 2)}(=O)O acid-{number}\n".encode(),
        b"\0 no text",
        params={"top": 3, "pictures": 1},
        version=made_up_screening,
        seeded=False,
    ),
    "synthesis": Sample(params={"count": 6, "format": "dicom"}, version=untrained_generator),
    "training": Sample(
        params={
            "kind": "diagnosis",
            "dataset": "noise",
            "recipe": "cnn-basic",
            "name": "noise",
            "overrides": {"epochs": 1, "baseline_epochs": 1},
        },
        cases=lambda: small_set(0),
    ),
    "toy-mean": Sample(lambda number: bytes([number + 1, number + 3]), b"BAD", {"artifact": True}),
    "toy-hungry": Sample(lambda number: bytes([number + 1, number + 3]), b"BAD", {"artifact": True}),
    "toy-scale": Sample(lambda number: b"%d" % (number + 1), b"no number"),
    "toy-train": Sample(params={"steps": 4}),
    "toy-steps": Sample(params={"steps": 4, "step_s": 0.0}),
}
