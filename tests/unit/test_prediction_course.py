"""The next value of a variable: its features and targets by hand, and an interval that holds what it says."""

from __future__ import annotations

import numpy as np
import pytest

from models.prediction import course
from models.prediction.encoding import Encoder, Scale
from models.prediction.patients import Observation, Patient
from tests.sequence_sets import survival_set


def test_the_next_value_is_the_next_one_measured_by_hand() -> None:
    """Given K at visits 0 and 3 and only Na at visit 1, then visit 1 knows K of visit 0 and waits for that of 3."""
    encoder = Encoder("years", None, 8, tuple(Scale(n, -9, 9, None, None, 0, 1) for n in ("K", "Na")), ())
    seen = [(0.0, "K", 1.0), (1.0, "Na", 2.0), (3.0, "K", 4.0), (5.0, "K", 5.0)]
    batch = encoder.encode([Patient({}, tuple(Observation(*one) for one in seen))])
    features, last, following = course.visits(batch, 0)
    assert last[0].tolist() == [1, 1, 4, 5]
    assert following[0, :3].tolist() == [4, 4, 5]
    assert np.isnan(following[0, 3])
    # last K, last Na, their ages, change of K, K over its mean so far, time, values of K so far
    assert features[0, 2].tolist() == pytest.approx([4, 2, 0, 2, 3, 1.5, 3, 2])


def test_the_variable_that_says_most_of_the_outcome_is_chosen() -> None:
    data = survival_set(150)
    encoder = Encoder.fit(data, np.arange(150), None, 16)
    assert data.duration is not None
    assert data.event is not None
    batch = encoder.encode_set(data, np.arange(150))
    assert encoder.variables[course.chosen(encoder, batch, data.duration, data.event)].name == "Lactate"


def test_the_interval_holds_about_nine_in_ten_of_new_patients_and_beats_the_last_value() -> None:
    """Given lactate that wavers around each patient's own level, then the last value alone errs more."""
    data, new = survival_set(300), survival_set(200, seed=7)
    encoder = Encoder.fit(data, np.arange(300), None, 16)
    batch, inner = encoder.encode_set(data, np.arange(300)), np.arange(300) % 3
    texts = course.fit(batch, 1, inner, seed=0)
    assert texts == course.fit(batch, 1, inner, seed=0)
    found = course.interval(batch, encoder.variables[1], 1, inner, texts)
    measured = course.measured(found, encoder.encode_set(new, np.arange(200)))
    assert measured["mae_scaled"] < measured["mae_scaled_carried_forward"]
    assert measured["interval_held"] == pytest.approx(course.COVERAGE, abs=0.05)
    told = found.after(encoder.encode([Patient({}, (Observation(0.0, "Lactate", 2.5),)), Patient({}, ())]))
    assert told[1] is None
    assert told[0] is not None
    assert told[0]["last"] == pytest.approx(2.5, rel=1e-4)
    assert told[0]["interval"][0] < told[0]["next"] < told[0]["interval"][1]
