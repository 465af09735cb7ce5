"""A fitted model as a version: weights.safetensors, the trees' own text packed, and its part of the manifest."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import safetensors.torch
import torch

from models.screening import boosting
from models.screening.ensemble import TREES, WEIGHTS
from models.screening.members import Fitted
from models.screening.molecules import MOST_ATOMS, MOST_LETTERS


def files(fitted: Fitted) -> dict[str, bytes]:
    """The weights, with the training molecules' Morgan bits, and the trees."""
    places, counts = (torch.from_numpy(one) for one in fitted.ensemble.domain.arrays())
    used = kept(fitted)
    tensors = {name: value for name, value in fitted.tensors.items() if name.partition(".")[0] in used}
    tensors |= {"domain.places": places, "domain.counts": counts}
    trees = {
        TREES.format(part, number): boosting.pack(one)
        for part, texts in fitted.texts.items()
        if part in used
        for number, one in enumerate(texts)
    }
    return {WEIGHTS: safetensors.torch.save(tensors), **trees}


def kept(fitted: Fitted) -> dict[str, float]:
    """The parts that have a weight in the blend; the others are not in the version."""
    weights = fitted.ensemble.blending.weights
    return {part: float(one) for part, one in zip(fitted.ensemble.parts, weights, strict=True) if one > 0}


def parts(fitted: Fitted) -> dict[str, Any]:
    """What the manifest says of the making, read again by `models.screening.ensemble.load`."""
    ensemble, used = fitted.ensemble, kept(fitted)
    return {
        "contract": {
            "targets": list(ensemble.targets),
            "values": ensemble.outcome.name,
            **({"units": list(ensemble.units)} if ensemble.units else {}),
            "smiles": {"most_letters": MOST_LETTERS, "most_heavy_atoms": MOST_ATOMS},
        },
        "network": {
            "name": "+".join(used),
            "config": {part: dict(one) for part, one in fitted.configs.items() if part in used},
        },
        "members": fitted.seen.shape[1],
        "vocabulary": list(ensemble.vocabulary.known),
        "blend": {
            "parts": list(used),
            "weights": list(used.values()),
            "calibration": ensemble.blending.calibration.tolist(),
            "views": ensemble.views,
            **({} if ensemble.half is None else {"half_width": [_number(one) for one in ensemble.half.tolist()]}),
        },
        "domain": {"limit": ensemble.domain.limit, "measure": "Tanimoto of Morgan bits, radius 2, 2048"},
        "trees": {
            part: [hashlib.sha256(boosting.pack(one)).hexdigest() for one in texts]
            for part, texts in fitted.texts.items()
            if part in used
        },
    }


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
