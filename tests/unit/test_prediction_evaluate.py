"""Figures by hand, and that what is written down is what the comparison of versions reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.cases import Cases
from models.prediction import evaluate
from tests.sequence_sets import binary_set

KEY = np.arange(6, dtype=np.uint64)
Y = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
P = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.9])


def test_small_figures_by_hand() -> None:
    """Given six cases with one pair in the wrong order of nine, then AUROC is 8/9."""
    found = evaluate.values(Cases(KEY, {"y": Y, "p": P}, {}))
    assert found["auc"] == pytest.approx(8 / 9, abs=1e-4)
    assert found["brier"] == pytest.approx(((P - Y) ** 2).mean(), abs=1e-4)
    assert found["min_se_pp"] == pytest.approx(0.75)
    assert evaluate.threshold(Y, P) == 0.3


def test_a_calibrated_risk_has_a_small_error_and_a_doubled_one_a_large() -> None:
    random = np.random.default_rng(0)
    p = random.uniform(0, 0.5, 20_000)
    y = (random.random(20_000) < p).astype(float)
    assert evaluate.ece(y, p) < 0.01
    assert evaluate.ece(y, 2 * p) == pytest.approx(0.25, abs=0.01)


def test_the_cases_read_back_as_they_were_written() -> None:
    groups = {"Sex": np.array([0, 1, 0, 1, 0, 1])}
    content = evaluate.packed(Cases(KEY[::-1], {"y": Y[::-1], "p": P[::-1]}, groups))
    again = Cases.read(content)
    assert again.key.tolist() == KEY.tolist()
    assert again.columns["p"] == pytest.approx(P, abs=1e-6)
    assert again.groups["Sex"].tolist() == [1, 0, 1, 0, 1, 0]


def test_cases_of_one_patient_are_drawn_together() -> None:
    """Given each case five times, known to be one patient's, then nothing is known better than from one of each."""
    random = np.random.default_rng(1)
    y = (random.random(80) < 0.4).astype(float)
    p = np.clip(0.3 * y + random.random(80) * 0.7, 0, 1)
    key = np.arange(80, dtype=np.uint64)
    once = evaluate.figures(Cases(key, {"y": y, "p": p}, {}))
    five = {"y": np.repeat(y, 5), "p": np.repeat(p, 5)}
    whose = Cases(np.arange(400, dtype=np.uint64), five, {}, patient=np.repeat(key, 5))
    assert evaluate.figures(Cases.read(evaluate.packed(whose)))["auc"] == once["auc"]
    strangers = evaluate.figures(Cases(whose.key, five, {}))["auc"]
    assert strangers["high"] - strangers["low"] < 0.6 * (once["auc"]["high"] - once["auc"]["low"])


def test_the_error_of_calibration_draws_whole_patients_too() -> None:
    y, p = np.tile([0.0, 1.0], 20), np.full(40, 0.5)
    one = Cases(
        np.arange(40, dtype=np.uint64), {"y": y, "p": p}, {}, patient=np.repeat(np.arange(20, dtype=np.uint64), 2)
    )
    drawn = evaluate._drawn(one, np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=40)
    assert (counts[::2] == counts[1::2]).all()
    assert counts.sum() == 40
    assert counts.max() > 1


def test_a_paired_interval_knows_that_noise_is_worse() -> None:
    random = np.random.default_rng(0)
    key, y = np.arange(600, dtype=np.uint64), (random.random(600) < 0.3).astype(float)
    good = Cases(key, {"y": y, "p": 1 / (1 + np.exp(-(2 * y + random.normal(0, 1, 600))))}, {})
    poor = Cases(key, {"y": y, "p": random.random(600)}, {})
    gap = evaluate.paired(poor, good, "auc", 200)
    assert gap["low"] > 0.2
    none = evaluate.paired(good, good, "auc", 50)
    assert none == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_ages_become_bands_by_hand() -> None:
    data = binary_set(6)
    static = np.column_stack([[np.nan, 44.9, 45, 64, 79.5, 80], np.zeros(6)]).astype(np.float32)
    found = evaluate.with_ages(replace(data, static=static))
    names = found.group_names["Age band"]
    codes = found.groups["Age band"].tolist()
    assert codes[0] == -1
    assert [names[code] for code in codes[1:]] == ["0 to 44", "45 to 64", "45 to 64", "65 to 79", "80 and over"]
    assert set(evaluate.with_ages(replace(data, statics=("Weight", "Sex"))).groups) == {"Sex"}


def test_a_small_subgroup_is_counted_and_not_judged() -> None:
    random = np.random.default_rng(0)
    y = (random.random(100) < 0.4).astype(float)
    codes = np.where(np.arange(100) < 90, 0, 1)
    codes[0] = -1
    of = Cases(np.arange(100, dtype=np.uint64), {"y": y, "p": random.random(100)}, {"ICU": codes})
    found = evaluate.subgroups(of, {"ICU": ("medical", "surgical")})
    assert set(found) == {"ICU=medical", "ICU=surgical"}
    assert found["ICU=surgical"] == {"n": 10}
    assert found["ICU=medical"]["n"] == 89
    assert {"auc", "auprc", "min_se_pp", "brier", "ece"} <= set(found["ICU=medical"])
