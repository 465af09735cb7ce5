"""The plots of a test part: what they show is what lifelines and a person count, and each file stands alone."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from lifelines import KaplanMeierFitter

from models.cases import Cases
from models.prediction import plotted
from models.prediction.survival import kaplan_meier

KEY = np.arange(6, dtype=np.uint64)
SVG = "{http://www.w3.org/2000/svg}"


def binary() -> Cases:
    y = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    return Cases(KEY, {"y": y, "p": np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.9])}, {})


def timed(count: int = 100) -> Cases:
    random = np.random.default_rng(0)
    risk = random.uniform(0.05, 0.95, count)
    columns = {"duration": np.round(random.exponential(4 / risk), 1), "event": random.random(count) < 0.7, "risk": risk}
    return Cases(np.arange(count, dtype=np.uint64), {n: np.asarray(c, float) for n, c in columns.items()}, {})


def test_the_estimate_is_that_of_lifelines_ties_and_censoring_included() -> None:
    of = timed().columns
    theirs = KaplanMeierFitter().fit(of["duration"], of["event"])
    for at in (0.5, 3.0, 6.0, 50.0):
        mine = kaplan_meier(of["duration"], of["event"], at)
        assert mine == pytest.approx(float(theirs.survival_function_at_times(at).iloc[0]), abs=1e-12)
    assert kaplan_meier(np.array([2.0]), np.array([0.0]), 3.0) == 1.0


def test_the_roc_curve_by_hand() -> None:
    """Given three of each and one pair in the wrong order, then the area is 8/9 and each step is one case."""
    points = plotted.curve(binary())
    assert points.tolist() == [
        [0, 0], [0, pytest.approx(1 / 3)], [0, pytest.approx(2 / 3)], [pytest.approx(1 / 3), pytest.approx(2 / 3)],
        [pytest.approx(1 / 3), 1], [pytest.approx(2 / 3), 1], [1, 1],
    ]  # fmt: skip
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(8 / 9)


def test_the_files_of_a_yes_or_no() -> None:
    files = plotted.drawn(binary())
    assert set(files) == {"calibration.svg", "roc.svg"}
    root = ElementTree.fromstring(files["calibration.svg"].decode())
    assert root.tag == f"{SVG}svg"
    assert [dot.findtext(f"{SVG}title") for dot in root.iter(f"{SVG}circle")] == ["1 subjects"] * 6
    assert "AUC 0.889" in files["roc.svg"].decode()
    one_sort = Cases(KEY, {"y": np.zeros(6), "p": binary().columns["p"]}, {})
    assert set(plotted.drawn(one_sort)) == {"calibration.svg"}
    assert plotted.drawn(binary().where(np.zeros(6, bool))) == {}


def test_each_group_of_a_time_to_an_event_is_held_against_its_own_estimate() -> None:
    of = timed()
    groups = plotted.observed(of, 6.0)
    lowest = np.argsort(of.columns["risk"])[:20]
    theirs = KaplanMeierFitter().fit(of.columns["duration"][lowest], of.columns["event"][lowest])
    assert groups[0]["observed"] == pytest.approx(1 - float(theirs.survival_function_at_times(6.0).iloc[0]), abs=1e-12)
    assert groups[0]["predicted"] == pytest.approx(of.columns["risk"][lowest].mean())
    assert [one["count"] for one in groups] == [20] * 5
    text = plotted.drawn(of, 6.0, "years")["calibration.svg"].decode()
    assert "Predicted and observed (Kaplan-Meier) by 6 years" in text
    assert len(re.findall("<circle", text)) == 5
