"""Metrics against scikit-learn and against sums that can be done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models.diagnosis.metrics import (
    accuracy_at,
    auc,
    bootstrap,
    ece,
    figures,
    perfect_ece,
    reliability,
    sensitivity_at,
    specificity_at,
)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("digits", [1, 8])
def test_auc_equals_scikit_learns_with_and_without_ties(seed: int, digits: int) -> None:
    random = np.random.default_rng(seed)
    y = (random.random(200) < 0.3).astype(np.int64)
    p = np.round(np.clip(random.normal(0.4 + 0.2 * y, 0.2), 0, 1), digits)
    assert auc(y, p) == pytest.approx(roc_auc_score(y, p), abs=1e-12)


def test_auc_by_hand() -> None:
    # Of the 2 x 2 pairs, .9 beats both negatives, .5 beats .2 and ties with .5: (2 + 1.5) / 4.
    assert auc(np.array([1, 1, 0, 0]), np.array([0.9, 0.5, 0.5, 0.2])) == 0.875
    assert np.isnan(auc(np.array([1, 1]), np.array([0.1, 0.9])))


def test_decisions_by_hand() -> None:
    y, p = np.array([1, 1, 1, 0, 0]), np.array([0.9, 0.6, 0.3, 0.6, 0.1])
    assert accuracy_at(0.6)(y, p) == 3 / 5
    assert sensitivity_at(0.6)(y, p) == 2 / 3
    assert specificity_at(0.6)(y, p) == 1 / 2


def test_ece_by_hand() -> None:
    # Two bins: four at confidence .9 of which three are right, one at .6 that is wrong: (4 x .15 + 1 x .6) / 5.
    y = np.array([1, 1, 1, 0, 0])
    p = np.array([0.9, 0.9, 0.9, 0.9, 0.6])
    assert ece(y, p) == pytest.approx((4 * 0.15 + 0.6) / 5)


def test_a_calibrated_model_shows_the_ece_of_chance_and_an_overconfident_one_more() -> None:
    random = np.random.default_rng(0)
    p = random.random(400)
    y = (random.random(400) < p).astype(np.int64)
    mean, low, high = perfect_ece(p)
    assert low < mean < high
    assert low <= ece(y, p) <= high
    assert ece(y, np.where(p > 0.5, 0.99, 0.01)) > high


def test_the_reliability_diagram_counts_every_image_once() -> None:
    rows = reliability(np.array([0, 1, 1]), np.array([0.05, 0.95, 1.0]))
    assert rows == [
        {"predicted": 0.05, "observed": 0.0, "count": 1},
        {"predicted": 0.975, "observed": 1.0, "count": 2},
    ]


def test_the_bootstrap_interval_agrees_with_the_binomial() -> None:
    y = np.ones(400, np.int64)
    y[:200] = 0
    p = np.full(400, 0.9)
    p[:200] = 0.1
    p[:20] = 0.9
    low, high = bootstrap(y, p, accuracy_at(0.5))
    # 20 of 200 negatives wrong: the share's standard error is sqrt(.1 x .9 / 200) / 2 = .0106.
    assert low == pytest.approx(0.95 - 1.96 * 0.0106, abs=0.004)
    assert high == pytest.approx(0.95 + 1.96 * 0.0106, abs=0.004)


def test_every_figure_lies_in_its_interval() -> None:
    random = np.random.default_rng(1)
    y = (random.random(150) < 0.6).astype(np.int64)
    p = np.clip(random.normal(0.3 + 0.4 * y, 0.2), 0, 1)
    found = figures(y, p, 0.5)
    assert set(found) == {"auc", "accuracy", "sensitivity", "specificity", "ece", "ece_if_perfect"}
    for name in ("auc", "accuracy", "sensitivity", "specificity"):
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
