"""Temperature, threshold and prediction sets, on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from models.diagnosis.calibration import (
    balanced_threshold,
    entropy,
    fit_quantile,
    fit_temperature,
    halves,
    log_loss,
    prediction_set,
    softmax,
)


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of a perfectly calibrated model."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, 2))
    labels = (random.random(count) < softmax(logits)[:, 1]).astype(np.int64)
    return logits, labels


def test_halves_part_each_class_evenly_and_share_no_image() -> None:
    labels = np.array([0] * 10 + [1] * 30)
    first, second = halves(labels)
    assert sorted([*first, *second]) == list(range(40))
    assert (labels[first] == 0).sum() == (labels[second] == 0).sum() == 5


def test_given_logits_blown_up_threefold_then_the_temperature_is_three() -> None:
    logits, labels = drawn(20_000)
    assert fit_temperature(logits * 3, labels) == pytest.approx(3.0, rel=0.05)


def test_the_temperature_is_the_one_that_scipy_finds() -> None:
    logits, labels = drawn(300, seed=4)
    found = minimize_scalar(lambda t: log_loss(logits * 2, labels, t), bounds=(0.05, 10), method="bounded")
    assert fit_temperature(logits * 2, labels) == pytest.approx(found.x, abs=1e-3)


def test_softmax_does_not_overflow() -> None:
    assert softmax(np.array([[1000.0, 0.0]])).tolist() == [[1.0, 0.0]]


def test_the_threshold_lies_where_sensitivity_meets_specificity() -> None:
    y = np.array([0, 0, 0, 0, 1, 1])
    # Between .3 and .6 everything is right: the middle of that gap.
    assert balanced_threshold(y, np.array([0.1, 0.1, 0.2, 0.3, 0.6, 0.9])) == pytest.approx(0.45)
    # Between .3 and .4 one of two positives and two of four negatives are decided rightly: .5 and .5.
    overlapping = np.array([0.1, 0.2, 0.4, 0.8, 0.3, 0.9])
    assert balanced_threshold(y, overlapping) == pytest.approx(0.35)


def test_the_threshold_does_not_move_when_one_class_is_copied() -> None:
    random = np.random.default_rng(2)
    p = np.concatenate([random.normal(0.3, 0.1, 200), random.normal(0.6, 0.1, 200)])
    y = np.repeat([0, 1], 200)
    twice = balanced_threshold(np.concatenate([y, y[200:]]), np.concatenate([p, p[200:]]))
    assert balanced_threshold(y, p) == pytest.approx(twice)


def test_prediction_sets_hold_the_truth_as_often_as_promised_in_each_class() -> None:
    logits, labels = drawn(4000)
    bounds = fit_quantile(softmax(logits[:2000]), labels[:2000], 0.9)
    fresh = softmax(logits[2000:])
    for label in (0, 1):
        rows = fresh[labels[2000:] == label]
        held = np.mean([label in prediction_set(row, bounds) for row in rows])
        assert held == pytest.approx(0.9, abs=0.025)


def test_a_class_with_too_few_images_is_never_ruled_out() -> None:
    probabilities = np.array([[0.9, 0.1]] * 50 + [[0.2, 0.8]] * 3)
    labels = np.array([0] * 50 + [1] * 3)
    assert fit_quantile(probabilities, labels, 0.9) == [pytest.approx(0.1), 1.0]


def test_the_conformal_rank_by_hand() -> None:
    # n = 9 and coverage .8: the ceil(10 x .8) = 8th smallest score of .1, .2, ... .9.
    p = 1 - np.arange(1, 10) / 10
    probabilities = np.stack([p, 1 - p], axis=1)
    assert fit_quantile(probabilities, np.zeros(9, np.int64), 0.8)[0] == pytest.approx(0.8)


def test_entropy_in_bits() -> None:
    assert entropy(np.array([[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]])).tolist() == pytest.approx([1.0, 0.0, 0.8112781])
