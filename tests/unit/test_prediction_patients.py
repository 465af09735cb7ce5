"""A patient as sent against a model's contract: what is taken, what is noted, what is refused and where."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from jobs.errors import InputError, LimitExceeded
from models.prediction.contract import Contract
from models.prediction.kind import PatientData
from models.prediction.patients import MOST_OBSERVATIONS, Columns, Observation, parse

CONTRACT = Contract.read(
    {
        "unit": "hours", "horizon": 48,
        "variables": [{"name": "HR", "low": 0, "high": 300, "unit": "/min"}, {"name": "Temp", "low": 25, "high": 45}],
        "statics": [{"name": "Age", "low": 0, "high": 120}, {"name": "Gender", "low": 0, "high": 1}],
        "outcome": {"kind": "binary", "name": "death", "horizons": []}, "course": None,
    }
)  # fmt: skip


def heart(time: Any, value: Any = 88, name: Any = "HR") -> dict[str, Any]:
    return {"time": time, "name": name, "value": value}


def test_a_patient_of_the_documentation_is_taken_as_it_stands() -> None:
    sent = {"static": {"Age": 54, "Gender": 1}, "observations": [heart(2.5)]}
    patient = parse(sent, CONTRACT)
    assert patient.static == {"Age": 54.0, "Gender": 1.0}
    assert tuple(patient.observations) == (Observation(2.5, "HR", 88.0),)
    assert patient.notes == ()
    PatientData.model_validate_json(json.dumps(sent), strict=True)
    assert parse(json.dumps(sent).encode(), CONTRACT) == patient


def test_what_lies_beyond_the_horizon_is_left_out_and_noted() -> None:
    patient = parse({"observations": [heart(48), heart(48.1), heart(60)]}, CONTRACT)
    assert [one.time for one in patient.observations] == [48.0]
    assert patient.notes == ("2 measurements left out: after 48 hours, where the model stops reading.",)


def test_repeats_count_once_and_two_values_at_one_time_both_count() -> None:
    patient = parse({"observations": [heart(1, 80), heart(1, 80), heart(1, 90)]}, CONTRACT)
    assert [one.value for one in patient.observations] == [80.0, 90.0]
    assert patient.notes == ("1 measurement counted once: sent more than once.",)


def test_impossible_values_are_taken_as_the_nearest_limit_and_a_wrong_unit_is_suspected() -> None:
    """Given temperatures in Fahrenheit, then each becomes 45 and the note asks for the unit; one artefact does not."""
    hot = parse({"observations": [heart(hour, 98.6, "Temp") for hour in range(3)]}, CONTRACT)
    assert [one.value for one in hot.observations] == [45.0] * 3
    assert hot.notes == ("Temp: 3 of 3 values outside 25 to 45, taken as the nearest limit. Check the unit.",)
    artefact = parse({"observations": [*(heart(hour) for hour in range(5)), heart(5, 999)]}, CONTRACT)
    assert artefact.observations[-1].value == 300.0
    assert artefact.notes == ("HR: 1 of 6 values outside 0 to 300 /min, taken as the nearest limit.",)
    assert parse({"static": {"Age": 130}}, CONTRACT).static == {"Age": 120.0}


def test_what_no_patient_has_is_left_out_where_the_training_left_it_out() -> None:
    """Given a pressure of 0 from a line that came off, then it is no shock: it is not read, nor a height of 13 cm."""
    natural = Contract.read(
        {
            "unit": "hours", "horizon": 48, "variables": [{"name": "SysABP", "low": 20, "high": 300, "natural": True}],
            "statics": [{"name": "Height", "low": 100, "high": 250, "unit": "cm", "natural": True}],
            "outcome": {"kind": "binary", "name": "death"},
        }
    )  # fmt: skip
    sent = {"static": {"Height": 13}, "observations": [heart(hour, 120 * (hour > 0), "SysABP") for hour in range(5)]}
    patient = parse(sent, natural)
    assert [one.value for one in patient.observations] == [120.0] * 4
    assert patient.static == {}
    assert patient.notes == (
        "Height: outside 100 to 250 cm, left out.", "SysABP: 1 of 5 values outside 20 to 300, left out.",
    )  # fmt: skip
    nothing = parse({"observations": [heart(1, 0, "SysABP")]}, natural)
    assert len(nothing.observations) == 0
    assert "Check the unit" in nothing.notes[0]
    assert "rests on the static values alone" in nothing.notes[1]


def test_a_patient_without_measurements_is_answered_from_the_static_values() -> None:
    for sent in ({"static": {"Age": 54}}, {"static": {"Age": 54}, "observations": []}):
        patient = parse(sent, CONTRACT)
        assert len(patient.observations) == 0
        assert "rests on the static values alone" in patient.notes[-1]
    assert parse({"static": {"Age": None}}, CONTRACT).static == {}


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ([], "A patient is a JSON object"),
        ({}, "name at least one"),
        ({"static": {}, "Name": "Doe"}, "no others"),
        ({"static": [1]}, "static is not an object"),
        ({"static": {"Age": "54"}}, "static/Age is not a number"),
        ({"static": {"Age": True}}, "static/Age is not a number"),
        ({"static": {"Age": -1}}, "static/Age is negative"),
        ({"static": {"Age": float("nan")}}, "static/Age is not finite"),
        ({"static": {"Age": 1, "Height": 170}}, "number 2, that the model does not know; it takes Age, Gender"),
        ({"static": {"age": 1}}, "Age may be meant"),
        ({"static": {"HR": 88}}, "the variable HR: measurements need a time"),
        ({"observations": {"time": 1}}, "observations is not an array"),
        ({"observations": [heart(1), 7]}, "observations/1 is not an object"),
        ({"observations": [heart(1), {"time": 1, "name": "HR"}]}, "observations/1 has no value"),
        ({"observations": [heart(1) | {"id": 4711}]}, "observations/0 has members other than"),
        ({"observations": [heart(1, name=["HR"])]}, "observations/0/name is not text"),
        ({"observations": [heart(1), heart(2, name="hr")]}, "observations/1/name is not a variable.*HR may be meant"),
        ({"observations": [heart(1), heart(-0.5)]}, "observations/1/time is negative"),
        ({"observations": [heart(1), heart("2")]}, "observations/1/time is not a number"),
        ({"observations": [heart(1), heart(2, None)]}, "observations/1/value is not a number"),
        ({"observations": [heart(1), heart(2, False)]}, "observations/1/value is not a number"),
        ({"observations": [heart(1, float("inf"))]}, "observations/0/value is not finite"),
        ({"observations": [heart(1, 10**400)]}, "observations/0/value is not finite"),
        ({"observations": [heart(1), heart(3), heart(2), heart(1)]}, "observations/2/time is earlier than the one be"),
        (b'{"static": {"Age": 54,}}', "not JSON: line 1, column 23"),
        (b'{"static": {"Age": ' + b"9" * 5000 + b"}}", "beyond reading"),
        (b"[" * 100_000, "beyond reading"),
        (b'{"static": "\xff"}', "beyond reading"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_place(sent: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse(sent, CONTRACT)


@pytest.mark.parametrize(
    "sent",
    [
        {"static": {"Jane Doe": 4711}},
        {"static": {"Age": "Jane Doe 4711"}},
        {"Jane Doe": 4711},
        {"observations": [heart(1, name="Jane Doe 4711")]},
        {"observations": [heart(1, "Jane Doe 4711")]},
        {"observations": [heart(1) | {"Jane Doe": 4711}]},
        {"observations": [heart(4711), heart(-4711)]},
        b'{"Jane Doe": 4711 Jane}',
    ],
)
def test_no_error_repeats_what_was_sent(sent: Any) -> None:
    with pytest.raises(InputError) as refused:
        parse(sent, CONTRACT)
    said = json.dumps(refused.value.as_dict())
    assert "Jane" not in said
    assert "4711" not in said


def test_a_table_s_measurements_are_checked_alike_and_named_by_row() -> None:
    good = Columns(np.array([1.0, 2.0]), np.array([0, 0]), np.array([80.0, 81.0]), np.array([3, 9]), ("HR", "Weight"))
    assert tuple(parse({"observations": good}, CONTRACT).observations) == (
        Observation(1.0, "HR", 80.0), Observation(2.0, "HR", 81.0),
    )  # fmt: skip
    unknown = Columns(good.time, np.array([0, 1]), good.value, good.row, good.names)
    with pytest.raises(InputError, match="row 9, column name is not a variable"):
        parse({"observations": unknown}, CONTRACT)
    early = Columns(np.array([-1.0, 2.0]), good.code, good.value, good.row, good.names)
    with pytest.raises(InputError, match="row 3, column time is negative"):
        parse({"observations": early}, CONTRACT)


def test_a_patient_of_endless_measurements_is_refused() -> None:
    with pytest.raises(LimitExceeded, match="100,000"):
        parse({"observations": [heart(1)] * (MOST_OBSERVATIONS + 1)}, CONTRACT)
