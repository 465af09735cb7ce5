"""A trained network on a data set: what it scores, how it is calibrated, and what that gives on the test part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data.canonical import ImageSet
from models.diagnosis import calibration, metrics, novelty
from models.diagnosis.metrics import Floats, Ints, Tick, silent
from models.diagnosis.networks import Network, normalise

ROC_POINTS = 60
LEAST = 30
"""Cases below which a subgroup gets no figures: chance alone moves them too far."""


@dataclass(frozen=True)
class Seen:
    """What a network says of a part: `logits` (N, classes) and `features` (N, F) for the distance."""

    logits: Floats
    features: Tensor


@torch.no_grad()
def look(network: Network, images: NDArray[np.uint8], tick: Tick = silent) -> Seen:
    """Run the network over images (N, H, W) in float32, with a `tick` before each batch."""
    logits: list[Tensor] = []
    features: list[Tensor] = []
    for at in range(0, len(images), 128):
        tick()
        activation = network.trunk(normalise(images[at : at + 128]))
        last, scores = network.tail(activation)
        logits.append(scores)
        features.append(novelty.gather(activation, last))
    return Seen(torch.cat(logits).double().numpy(), torch.cat(features))


@dataclass(frozen=True)
class Calibrated:
    """What validation fixed: temperature and threshold by its first half, the bounds of the sets by its second."""

    temperature: float
    threshold: float
    bounds: list[float]
    validation_auc: float
    validation_loss: float

    def probability(self, logits: Floats, positive: int) -> Floats:
        """Return the finding's calibrated probability, (N, classes) -> (N,)."""
        column: Floats = calibration.softmax(logits, self.temperature)[:, positive]
        return column


def calibrate(logits: Floats, labels: Ints, positive: int) -> Calibrated:
    """Fit temperature, threshold and bounds to the validation part."""
    first, second = calibration.halves(labels)
    temperature = calibration.fit_temperature(logits[first], labels[first])
    probabilities = calibration.softmax(logits, temperature)
    y = (labels == positive).astype(np.int64)
    threshold = calibration.balanced_threshold(y[first], probabilities[first, positive])
    return Calibrated(
        temperature=round(temperature, 6),
        threshold=round(threshold, 6),
        bounds=[round(b, 6) for b in calibration.fit_quantile(probabilities[second], labels[second])],
        validation_auc=round(metrics.auc(y, probabilities[:, positive]), 4),
        validation_loss=round(calibration.log_loss(logits, labels, 1.0), 4),
    )


def seed_row(
    seed: int, fixed: Calibrated, logits: Floats | None, part: ImageSet | None, positive: int
) -> dict[str, Any]:
    """Return one seed's figures: validation always, test where the data set has that part."""
    row: dict[str, Any] = {
        "seed": seed,
        "validation_auc": fixed.validation_auc,
        "validation_loss": fixed.validation_loss,
    }
    if part is None or logits is None:
        return row
    y, p = (part.labels == positive).astype(np.int64), fixed.probability(logits, positive)
    return {**row, **metrics.values(y, p, fixed.threshold)}


def mean_of(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the mean over seeds of every figure but the seed."""
    names = [name for name in rows[0] if name != "seed"]
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in names}


def test_metrics(fixed: Calibrated, logits: Floats, part: ImageSet, positive: int, tick: Tick) -> dict[str, Any]:
    """Return the shipped network's figures on the test part, with its curves."""
    y, p = (part.labels == positive).astype(np.int64), fixed.probability(logits, positive)
    probabilities = calibration.softmax(logits, fixed.temperature)
    sets = [calibration.prediction_set(row, fixed.bounds) for row in probabilities]
    held = [label in found for label, found in zip(part.labels.tolist(), sets, strict=True)]
    return {
        **metrics.figures(y, p, fixed.threshold, tick),
        "reliability": metrics.reliability(y, p),
        "roc": roc(y, p),
        "prediction_sets": {
            "intended_coverage": calibration.COVERAGE,
            "coverage": round(float(np.mean(held)), 4),
            "one_class": round(float(np.mean([len(found) == 1 for found in sets])), 4),
        },
    }


def subgroups(fixed: Calibrated, logits: Floats, part: ImageSet, positive: int, tick: Tick = silent) -> dict[str, Any]:
    """Return the test figures of every subgroup with LEAST cases or more of both classes, "Sex=F" and so on."""
    found: dict[str, Any] = {}
    for variable, codes in part.groups.items():
        for code, name in enumerate(part.group_names[variable]):
            chosen = codes == code
            y, p = (part.labels[chosen] == positive).astype(np.int64), fixed.probability(logits[chosen], positive)
            if len(y) >= LEAST and 0 < y.sum() < len(y):
                found[f"{variable}={name}"] = {"n": len(y), **metrics.figures(y, p, fixed.threshold, tick)}
    return found


def roc(y: Ints, p: Floats) -> list[list[float]]:
    """Return the ROC curve as [1 - specificity, sensitivity], thinned to about ROC_POINTS points."""
    order = np.argsort(-p, kind="stable")
    hit, miss = np.cumsum(y[order]) / y.sum(), np.cumsum(1 - y[order]) / (1 - y).sum()
    pick = np.unique(np.linspace(0, len(p) - 1, ROC_POINTS).round().astype(int))
    return [[0.0, 0.0], *([round(float(miss[i]), 4), round(float(hit[i]), 4)] for i in pick)]


def familiar(
    network: Network, train: ImageSet, validation: ImageSet, tick: Tick = silent
) -> tuple[Tensor, Tensor, float, float]:
    """Return (means, whiten, distance bound, energy bound): fitted to training, bounds from validation."""
    means, whiten = novelty.fit(look(network, train.images, tick).features, train.labels)
    seen = look(network, validation.images, tick)
    distance = novelty.nearest(seen.features, means, whiten)
    energy = novelty.energy(torch.from_numpy(seen.logits))
    quantile = novelty.QUANTILE
    return means, whiten, float(distance.quantile(quantile)), float(energy.quantile(quantile))
