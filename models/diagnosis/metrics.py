"""Figures of a classifier on one part of a data set, with bootstrap intervals. Numpy only.

`y` is 1 for the positive finding and 0 otherwise, (N,); `p` is its probability, (N,).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Metric = Callable[[Ints, Floats], float]
Tick = Callable[[], None]
"""Called between portions of what takes long; raises `Stop` where the job is to end."""


def silent() -> None:
    """A tick that nobody listens to."""


BINS = 15
"""Equal-width bins of the calibration error (Guo et al. 2017)."""


def auc(y: Ints, p: Floats) -> float:
    """Return the area under the ROC curve: the chance that a positive outranks a negative, ties counted half."""
    order = np.argsort(p, kind="stable")
    ordered = p[order]
    # Average ranks of ties: the mean of the first and last position of each distinct value.
    first = np.searchsorted(ordered, ordered, side="left")
    last = np.searchsorted(ordered, ordered, side="right")
    ranks = np.empty(len(p))
    ranks[order] = (first + last + 1) / 2
    positives = int(y.sum())
    negatives = len(y) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    return float((ranks[y == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def ece(y: Ints, p: Floats) -> float:
    """Return the expected calibration error of the predicted class: |accuracy - confidence|, weighted over 15 bins."""
    confidence = np.maximum(p, 1 - p)
    right = (p >= 0.5) == (y == 1)
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gap = np.bincount(which, right - confidence, minlength=BINS)
    return float(np.abs(gap).sum() / len(p))


def perfect_ece(p: Floats, seed: int = 0, repeats: int = 1000) -> tuple[float, float, float]:
    """Return (mean, 2.5 %, 97.5 %) of the error that a perfectly calibrated model shows at these confidences and n.

    The labels are drawn from the probabilities themselves, so whatever error remains is chance alone.
    """
    random = np.random.default_rng(seed)
    drawn = [ece((random.random(len(p)) < p).astype(np.int64), p) for _ in range(repeats)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.mean(drawn)), float(low), float(high)


def reliability(y: Ints, p: Floats, bins: int = 10) -> list[dict[str, float]]:
    """Return the non-empty bins of the reliability diagram: mean `predicted`, `observed` share, `count`."""
    which = np.minimum((p * bins).astype(int), bins - 1)
    chosen = [which == b for b in range(bins)]
    return [
        {"predicted": round(float(p[b].mean()), 4), "observed": round(float(y[b].mean()), 4), "count": int(b.sum())}
        for b in chosen
        if b.any()
    ]


def bootstrap(
    y: Ints, p: Floats, metric: Metric, seed: int = 0, repeats: int = 2000, tick: Tick = silent
) -> tuple[float, float]:
    """Return the 95 % interval of `metric`: percentiles over resamples drawn within each class.

    Drawing within the classes keeps each resample's prevalence, so that a small set never loses a class.
    """
    random = np.random.default_rng(seed)
    groups = [np.flatnonzero(y == value) for value in (0, 1)]
    values = np.empty(repeats)
    for repeat in range(repeats):
        tick()
        index = np.concatenate([random.choice(group, len(group)) for group in groups])
        values[repeat] = metric(y[index], p[index])
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def accuracy_at(threshold: float) -> Metric:
    """Return the metric "share of right decisions at `threshold`"."""
    return lambda y, p: float(((p >= threshold) == (y == 1)).mean())


def sensitivity_at(threshold: float) -> Metric:
    """Return the metric "share of positives that are decided positive"."""
    return lambda y, p: float((p[y == 1] >= threshold).mean())


def specificity_at(threshold: float) -> Metric:
    """Return the metric "share of negatives that are decided negative"."""
    return lambda y, p: float((p[y == 0] < threshold).mean())


def measures(threshold: float) -> dict[str, Metric]:
    """Return the metrics that a card prints, by name."""
    return {
        "auc": auc,
        "accuracy": accuracy_at(threshold),
        "sensitivity": sensitivity_at(threshold),
        "specificity": specificity_at(threshold),
        "ece": ece,
    }


def values(y: Ints, p: Floats, threshold: float) -> dict[str, float]:
    """Return every measure and the ECE of a perfectly calibrated model, without intervals."""
    found = {name: round(metric(y, p), 4) for name, metric in measures(threshold).items()}
    return {**found, "ece_if_perfect": round(perfect_ece(p)[0], 4)}


def figures(y: Ints, p: Floats, threshold: float, tick: Tick = silent) -> dict[str, dict[str, float]]:
    """Return AUC, accuracy, sensitivity, specificity and ECE, each with its 95 % interval `low` to `high`."""
    found: dict[str, dict[str, float]] = {}
    for name, metric in measures(threshold).items():
        low, high = bootstrap(y, p, metric, tick=tick)
        found[name] = {"value": round(metric(y, p), 4), "low": round(low, 4), "high": round(high, 4)}
    mean, low, high = perfect_ece(p)
    found["ece_if_perfect"] = {"value": round(mean, 4), "low": round(low, 4), "high": round(high, 4)}
    return found
