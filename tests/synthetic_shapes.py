"""Small images that a GAN can be tried on in a second, and a version of a generator that nobody trained."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs.predicting import ModelVersion
from models.data.canonical import TEST, TRAIN, VALIDATION, ImageSet
from models.synthesis.drawing import WEIGHTS, packed
from models.synthesis.networks import Architecture

CLASSES = ("left", "right")


def shapes(count: int = 240, side: int = 16, seed: int = 0) -> ImageSet:
    """Noise with a brighter half: on the left of the first class, the right of the second. 4 of 6 are for training."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = random.integers(0, 100, (count, side, side))
    for image, label in zip(images, labels, strict=True):
        image[:, label * side // 2 : (label + 1) * side // 2] += 120
    split = np.array([TRAIN, TRAIN, TRAIN, TRAIN, VALIDATION, TEST], np.uint8)[np.arange(count) // 2 % 6]
    return ImageSet(
        split=split, key=np.arange(count, dtype=np.uint64), images=images.astype(np.uint8), labels=labels,
        patient=np.arange(count), classes=CLASSES,
    )  # fmt: skip


PASSED: dict[str, Any] = {"passed": True, "checks": [], "failures": [], "limits": {}}
REFUSED: dict[str, Any] = {
    "passed": False, "checks": [], "limits": {}, "failures": ["coverage is 0.120; at least 0.6 is asked for"],
}  # fmt: skip


def version(folder: Path, gate: dict[str, Any] | None = None, name: str = "shapes", side: int = 16) -> ModelVersion:
    """A generator of random weights, which are the same each time. `gate`: its verdict; passed unless given."""
    built = Architecture("sn-gan", len(CLASSES), side, 4, 8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        gan = built.build()
        # A fresh generator is nearly grey: wider noise gives pictures that differ.
        torch.nn.init.normal_(gan.generator.enter.weight, std=2.0)
    content = packed(gan.generator)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(content)
    manifest = {
        "name": name,
        "version": 1,
        "kind": "synthesis",
        "summary": "Nobody trained it.",
        "classes": list(CLASSES),
        "contract": {"rows": side, "columns": side, "modality": "CR", "body_part": "CHEST"},
        "network": {"name": "sn-gan", "config": {"side": side, "width": 4, "noise": 8}},
        "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
        "created_at": "2026-01-02T03:04:05+00:00",
        "quality": None,
        "usefulness": None,
        "privacy": None,
        "gate": PASSED if gate is None else gate,
        "health": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return ModelVersion(name, 1, "synthesis", folder, manifest)
