"""From logits to probabilities, decisions and prediction sets. Every choice is made on the validation part alone.

Validation is cut in two halves, each with the classes in the same shares: temperature and threshold come from the
first, the prediction sets from the second, because a set's guarantee needs images that nothing else was fitted to.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.diagnosis.metrics import Floats, Ints

COVERAGE = 0.9
"""Share of images whose prediction set is to hold the true class, in the population that validation was drawn from."""


def halves(labels: Ints, seed: int = 0) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions of the two halves of a part, each class cut evenly at random."""
    random = np.random.default_rng(seed)
    first: list[NDArray[np.intp]] = []
    second: list[NDArray[np.intp]] = []
    for value in np.unique(labels):
        where = random.permutation(np.flatnonzero(labels == value))
        first.append(where[: len(where) // 2])
        second.append(where[len(where) // 2 :])
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(second))


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Return probabilities for logits, (N, classes) -> (N, classes)."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: Floats = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def log_loss(logits: Floats, labels: Ints, temperature: float) -> float:
    """Return the mean negative log-likelihood of the labels at a temperature."""
    scaled = logits / temperature
    top = scaled.max(axis=1)
    normaliser = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
    return float((normaliser - scaled[np.arange(len(labels)), labels]).mean())


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """Return the temperature of least log loss (Guo et al. 2017), found by golden section between .05 and 10.

    The loss has one minimum in log T, so the section cannot end in a wrong one.
    """
    low, high, ratio = math.log(0.05), math.log(10.0), (math.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if log_loss(logits, labels, math.exp(left)) < log_loss(logits, labels, math.exp(right)):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def balanced_threshold(y: Ints, p: Floats) -> float:
    """Return the threshold where sensitivity and specificity meet (the equal-error point).

    Neither depends on how common the finding is, so the rule survives a change of prevalence, which accuracy does
    not: the pneumonia share is 74 % in validation and 62.5 % in test. Between two neighbouring scores every threshold
    decides alike; the middle of the best gap is returned, and the middle of all where several are equally good.
    """
    scores = np.unique(p)
    candidates = (scores[1:] + scores[:-1]) / 2
    positives, negatives = np.sort(p[y == 1]), np.sort(p[y == 0])
    sensitivity = 1 - np.searchsorted(positives, candidates) / len(positives)
    specificity = np.searchsorted(negatives, candidates) / len(negatives)
    gap = np.abs(sensitivity - specificity)
    best = candidates[gap <= gap.min() + 1e-12]
    return float((best[0] + best[-1]) / 2)


def fit_quantile(probabilities: Floats, labels: Ints, coverage: float = COVERAGE) -> list[float]:
    """Return one conformal bound per class: a class is in an image's set where 1 - p(class) <= its bound.

    Bounds per class (Mondrian; Vovk 2012) hold the coverage for the rare class as well. Split conformal: the
    ceil((n + 1) coverage)-th smallest score of that class's n held-out images; 1 where n is too small for it.
    """
    bounds: list[float] = []
    for label in range(probabilities.shape[1]):
        scores = np.sort(1 - probabilities[labels == label, label])
        rank = math.ceil((len(scores) + 1) * coverage)
        bounds.append(float(scores[rank - 1]) if rank <= len(scores) else 1.0)
    return bounds


def prediction_set(probabilities: Floats, bounds: list[float]) -> list[int]:
    """Return the classes in one image's prediction set, (classes,) -> indices; it may be empty or hold them all."""
    return [label for label, bound in enumerate(bounds) if 1 - probabilities[label] <= bound]


def entropy(probabilities: Floats) -> Floats:
    """Return the entropy in bits, (N, classes) -> (N,)."""
    bits: Floats = -(probabilities * np.log2(np.clip(probabilities, 1e-12, 1.0))).sum(axis=1)
    return bits
