"""A fitted model as a version: weights.safetensors, trees as LightGBM's own text, and its part of the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from models.prediction import hazards, members
from models.prediction.encoding import Encoder
from models.prediction.ensemble import TREES, WEIGHTS
from models.prediction.familiar import Familiar


def contract(encoder: Encoder, outcome: Mapping[str, Any], goes_on: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the version takes and says, as models/prediction/contract.py reads it."""
    named = {"variables": encoder.variables, "statics": encoder.statics}
    return {
        "unit": encoder.unit,
        "horizon": encoder.horizon,
        **{
            part: [
                {"name": one.name, "low": one.low, "high": one.high, "unit": one.unit, "natural": one.natural}
                for one in scales
            ]
            for part, scales in named.items()
        },
        "outcome": dict(outcome),
        "course": goes_on,
    }


def risk_files(fitted: members.Fitted) -> dict[str, bytes]:
    """Return the weights and trees of a risk model."""
    ensemble = fitted.ensemble
    tensors = _familiar(ensemble.familiar)
    for part, networks in ensemble.networks.items():
        tensors.update(_states(part, networks))
    return {WEIGHTS: safetensors.torch.save(tensors), **_trees(fitted.texts)}


def risk_parts(fitted: members.Fitted) -> dict[str, Any]:
    """Return what the manifest says of a risk model's making, read again by `load`."""
    ensemble, configs = fitted.ensemble, {name: dict(one) for name, one in fitted.configs.items()}
    return {
        "encoder": ensemble.encoder.as_dict(),
        "network": {"name": "+".join(ensemble.parts), "config": configs},
        "stack": {"parts": list(ensemble.parts), "weights": [float(one) for one in ensemble.weights]},
        "members": _count(fitted),
        "ood": {"limit": ensemble.familiar.limit},
        "trees": _digests(fitted.texts),
    }  # fmt: skip


def survival_files(fitted: hazards.Fitted) -> dict[str, bytes]:
    """Return the weights and trees of a survival model."""
    tensors = {**_familiar(fitted.ensemble.familiar), **_states("survival-gru", fitted.ensemble.networks)}
    return {WEIGHTS: safetensors.torch.save(tensors), **_trees(fitted.texts)}


def survival_parts(fitted: hazards.Fitted) -> dict[str, Any]:
    """Return what the manifest says of a survival model's making, read again by `load`."""
    ensemble = fitted.ensemble
    goes_on = ensemble.course
    return {
        "encoder": ensemble.encoder.as_dict(),
        "network": {"name": "survival-gru", "config": dict(fitted.config)},
        "members": len(ensemble.networks),
        "intervals": [float(end) for end in ensemble.ends],
        "ood": {"limit": ensemble.familiar.limit},
        "course": goes_on and {"variable": goes_on.scale.name, "below": goes_on.below, "above": goes_on.above},
        "trees": _digests(fitted.texts),
    }


def _familiar(of: Familiar) -> dict[str, Tensor]:
    return {"ood.mean": torch.from_numpy(of.mean), "ood.whiten": torch.from_numpy(of.whiten).float()}


def _states(part: str, networks: Sequence[nn.Module]) -> dict[str, Tensor]:
    return {
        f"{part}.{number}.{name}": value.contiguous()
        for number, network in enumerate(networks)
        for name, value in network.state_dict().items()
    }


def _trees(texts: Sequence[str]) -> dict[str, bytes]:
    return {TREES.format(number): text.encode() for number, text in enumerate(texts)}


def _digests(texts: Sequence[str]) -> list[str]:
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts]


def _count(fitted: members.Fitted) -> int:
    return max([len(fitted.texts), *(len(networks) for networks in fitted.ensemble.networks.values())])
