"""Discrete-time survival against what lifelines computes and what a person can count."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from lifelines.utils import concordance_index

from models.prediction import survival


def cohort(count: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    duration = np.round(random.exponential(5, count), 1) + 0.1
    return duration, (random.random(count) < 0.6).astype(float), np.round(random.normal(0, 1, count), 1)


def test_the_concordance_is_that_of_lifelines_ties_included() -> None:
    for seed in range(5):
        duration, event, risk = cohort(seed=seed)
        theirs = concordance_index(duration, -risk, event)
        assert survival.c_index(duration, risk, event) == pytest.approx(theirs, abs=1e-12)
    assert np.isnan(survival.c_index(np.array([1.0, 2.0]), np.array([0.0, 1.0]), np.zeros(2)))


def test_what_followed_each_visit_by_hand() -> None:
    """Given a death at 2.5 and a censoring at 2.6, visits at 0 and 2, and intervals of one year to three."""
    time = np.array([[0.0, 2.0], [0.0, np.nan]])
    at_risk, event = survival.followed(time, np.array([2.5, 2.6]), np.array([1.0, 0.0]), np.arange(4.0))
    assert at_risk[0].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert event[0].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert at_risk[1].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert event[1].sum() == 0
    early, _ = survival.followed(time[1:], np.array([2.4]), np.array([0.0]), np.arange(4.0))
    assert early[0, 0].tolist() == [1, 1, 0]


def test_hazards_counted_per_interval_give_the_kaplan_meier_curve() -> None:
    """Given times at the ends of intervals and no censoring, then both curves are the share that is still alive."""
    duration = np.random.default_rng(1).integers(1, 9, 200).astype(float)
    ends = np.arange(9.0)
    at_risk, event = survival.followed(np.zeros((200, 1)), duration, np.ones(200), ends)
    hazard = event.sum(axis=(0, 1)) / at_risk.sum(axis=(0, 1))
    logits = np.log(np.clip(hazard, 1e-12, 1 - 1e-12) / np.clip(1 - hazard, 1e-12, 1))
    theirs = KaplanMeierFitter().fit(duration, np.ones(200)).survival_function_at_times(ends).to_numpy()
    assert survival.curve(logits, ends, ends) == pytest.approx(theirs, abs=1e-9)


def test_a_curve_starts_at_one_falls_and_ends_where_nothing_more_is_known() -> None:
    ends = np.array([0.0, 2.0, 4.0])
    logits = np.zeros(2)  # a hazard of one half in each interval
    found = survival.curve(logits, ends, np.array([0.0, 1.0, 2.0, 3.0, 4.0, 9.0]))
    assert found == pytest.approx([1.0, 0.5**0.5, 0.5, 0.5**1.5, 0.25, 0.25])
    assert survival.curve(np.zeros((3, 5, 2)), ends, ends).shape == (3, 5, 3)


def test_the_landmark_takes_the_last_visit_before_it_and_who_is_still_there() -> None:
    time = np.array([[0.0, 1.0, 2.0], [0.5, np.nan, np.nan], [0.0, 3.0, np.nan], [2.0, np.nan, np.nan]])
    visit, followed = survival.at_landmark(time, np.array([5.0, 0.9, 4.0, 6.0]), 1.0)
    assert visit.tolist() == [1, 0, 0, 0]
    assert followed.tolist() == [True, False, True, False]
    visit, followed = survival.at_landmark(time, np.array([5.0, 0.9, 4.0, 6.0]), time[:, 0])
    assert visit.tolist() == [0, 0, 0, 0]
    assert followed.all()


def test_horizons_are_round_and_within_what_the_hazards_know() -> None:
    duration, event, _ = cohort()
    found = survival.horizons(duration, event, 8.0)
    assert found == tuple(sorted(found))
    assert all(0 < one <= 8 and float(f"{one:.1g}") == one for one in found)
    assert survival.horizons(duration, np.zeros(len(duration)), 8.0) == (4.0,)
