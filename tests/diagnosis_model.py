"""A small, untrained model version in a folder, and images for it: tests of the machinery need no trained weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imaging.writing import secondary_capture
from jobs.predicting import ModelVersion
from models.diagnosis import novelty, weights
from models.diagnosis.networks import build, normalise

CONTRACT = {
    "modality": ["CR", "OT"], "photometric_interpretation": ["MONOCHROME1", "MONOCHROME2"], "png": True,
    "min_rows": 28, "min_columns": 28, "max_frames": 3, "fit": "centre-square", "input": {"rows": 28, "columns": 28},
}  # fmt: skip


def image(seed: int, rows: int = 28, columns: int = 28) -> np.ndarray:
    """A blurry picture, (rows, columns) uint8, of its own for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7)).astype(np.uint8)
    return np.kron(coarse, np.ones((rows // 7, columns // 7), np.uint8))


def dicom(folder: Path, seed: int, rows: int = 28, columns: int = 28, modality: str = "CR") -> Path:
    """`image(seed)` as a DICOM file."""
    path = folder / f"{seed}-{rows}x{columns}-{modality}.dcm"
    made = secondary_capture(
        image(seed, rows, columns), series_description="test", derivation_description="test", patient_id="TEST",
        modality=modality,
    )  # fmt: skip
    path.write_bytes(made)
    return path


@cache
def _trained() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(state dict, extra tensors) of a ResNet-18 of width 4 with seeded random weights and real running statistics."""
    # One thread: on two busy cores the threads of a network this small mostly wait for one another.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build("resnet18", 2, {"width": 4})
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    images = np.stack([image(seed) for seed in range(32)])
    with torch.no_grad():
        network(normalise(images))
        activation = network.eval().trunk(normalise(images))
        features, _ = network.tail(activation)
    means, whiten = novelty.fit(novelty.gather(activation, features), np.arange(32) % 2)
    extra = {
        "means": means, "whiten": whiten, "sample": torch.from_numpy(images[:8]),
        "reference": torch.from_numpy(images.mean(axis=0).round().astype(np.uint8)),
    }  # fmt: skip
    return network.state_dict(), extra


def version(folder: Path, **changes: Any) -> ModelVersion:
    """A model version `tiny@1`; `changes` replace parts of its manifest."""
    digest = weights.save(folder / "weights.safetensors", *_trained())
    manifest: dict[str, Any] = {
        "name": "tiny", "version": 1, "kind": "diagnosis", "classes": ["clear", "shadow"],
        "labels": [{"name": "shadow", "threshold": 0.5}],
        "network": {"name": "resnet18", "config": {"width": 4}},
        "weights": {"file": "weights.safetensors", "sha256": digest},
        "calibration": {
            "temperature": 1.0, "conformal": {"bounds": [0.9, 0.9]}, "ood": {"distance": 1e6, "energy": 1e6},
        },
        "contract": CONTRACT, "evidence": {"method": "reference-cam"},
        "audit": {"tests": {"cascade": True}, "passed": True},
    }  # fmt: skip
    manifest.update(changes)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return ModelVersion("tiny", 1, "diagnosis", folder, manifest)
