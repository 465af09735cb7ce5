"""The picture of a course: what stands where, what is left open, and that no stranger's text gets in."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from jobs.results import DISCLAIMER
from models.prediction.contract import Contract
from models.prediction.patients import Observation, Patient
from models.prediction.picture import DOWN, MOST_PANELS, UP, picture

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("HR", "Temp", "pH", "Na", "K", "Mg", "WBC", "GCS")


def contract(**changes: Any) -> Contract:
    body = {
        "unit": "hours", "horizon": 48, "variables": [{"name": n, "low": 0, "high": 300, "unit": "u"} for n in NAMES],
        "statics": [{"name": "Age", "low": 0, "high": 120, "unit": "years"}],
        "outcome": {"kind": "binary", "name": "Death in <hospital>", "horizons": []}, "course": None,
    }  # fmt: skip
    return Contract.read({**body, **changes})


def item(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "risks": [{"outcome": "Death in <hospital>", "horizon": None, "probability": 0.123, "interval": [0.1, 0.2]}],
        "over_time": [{"time": hour, "probability": 0.1 + hour / 100} for hour in range(4)],
        "survival": None,
        "attributions": [{"feature": "Age", "time": None, "weight": 0.31}],
    }
    return {**body, **changes}


PATIENT = Patient(
    {"Age": 54.0}, (Observation(0.5, "HR", 80.0), Observation(1.5, "HR", 90.0), Observation(30.0, "HR", 100.0))
)
TIMES = np.arange(48.0)


def weights(**columns: float) -> np.ndarray:
    """(48, V) zeros but for the first bin of the columns named."""
    made = np.zeros((48, len(NAMES)))
    for name, weight in columns.items():
        made[0, NAMES.index(name)] = weight
    return made


def drawn(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def words(root: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in root.iter(f"{SVG}text")]


def test_it_is_one_file_of_text_and_shapes() -> None:
    text = picture(contract(), PATIENT, item(), weights(HR=1.0), TIMES)
    root = drawn(text)
    assert "Death in <hospital>: 12.3%" in words(root)
    assert DISCLAIMER in words(root)
    assert any("Age 54 years (raises by 0.31)" in one for one in words(root))
    assert not re.search(r"<script|href|url\(|http(?!://www\.w3\.org/2000/svg)", text)


def test_only_neighbours_in_time_are_joined() -> None:
    """Given heart rates at 0.5, 1.5 and 30 hours, then one line joins the first two and the third stands alone."""
    root = drawn(picture(contract(), PATIENT, item(over_time=[]), weights(HR=1.0), TIMES))
    assert len(list(root.iter(f"{SVG}circle"))) == 3
    assert len(list(root.iter(f"{SVG}polyline"))) == 1


def test_a_mark_s_side_says_the_same_as_its_colour() -> None:
    made = weights(HR=1.0)
    made[5, 0] = -0.5
    marks = list(drawn(picture(contract(), PATIENT, item(), made, TIMES)).iter(f"{SVG}rect"))
    (up,) = [one for one in marks if one.get("fill") == UP]
    (down,) = [one for one in marks if one.get("fill") == DOWN]
    assert float(up.get("y", 0)) + float(up.get("height", 0)) == pytest.approx(float(down.get("y", 0)), abs=0.11)
    assert float(up.get("height", 0)) == pytest.approx(2 * float(down.get("height", 0)))


def test_the_heaviest_variables_come_first_and_no_more_than_fit() -> None:
    every = {name: 0.1 * (number + 1) for number, name in enumerate(NAMES)}
    found = [one for one in words(drawn(picture(contract(), PATIENT, item(), weights(**every), TIMES))) if one in NAMES]
    assert found == list(reversed(NAMES))[:MOST_PANELS]


def test_a_patient_without_measurements_and_a_survival_curve_are_drawn() -> None:
    survival = {"times": [1.0, 3.0, 5.0], "survival": [0.9, 0.7, 0.4]}
    told = item(over_time=[], survival=survival, attributions=[])
    told["risks"] = [{"outcome": "death", "horizon": 3.0, "probability": 0.3, "interval": [0.2, 0.4]}]
    years = contract(unit="years", horizon=None)
    root = drawn(picture(years, Patient({}, ()), told, np.zeros((0, len(NAMES))), np.zeros(0)))
    assert "death within 3 years: 30.0%" in words(root)
    assert "Survival" in words(root)
    (curve,) = root.iter(f"{SVG}polyline")
    heights = [float(point.split(",")[1]) for point in str(curve.get("points")).split()]
    assert heights == sorted(heights)
