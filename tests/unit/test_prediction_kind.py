"""The kind's schemas, and that the API can read them, and draw the report, without torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from jobs.kinds import resolve
from models.prediction.kind import KIND, PatientData, PredictionItem, PredictionParams


def test_neither_kind_nor_report_nor_splitting_loads_what_only_workers_may() -> None:
    program = (
        "import sys, models.prediction.kind, models.prediction.report, models.prediction.splitting\n"
        "print(sorted({'torch', 'polars', 'lightgbm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_every_dotted_name_leads_somewhere() -> None:
    assert callable(resolve(KIND.splitter or ""))
    assert callable(resolve(KIND.report or ""))


@pytest.mark.parametrize(
    "sent",
    [
        {"static": {"Age": "54"}},
        {"static": {"Age": True}},
        {"patient": "x"},
        {"observations": [{"time": -1, "name": "HR", "value": 1}]},
        {"observations": [{"time": 1, "name": "HR"}]},
        {"observations": [{"time": 1, "name": "HR", "value": "1"}]},
    ],
)
def test_data_of_another_shape_is_refused_at_the_door(sent: object) -> None:
    PatientData.model_validate_json('{"static": {"Age": null}, "observations": []}', strict=True)
    with pytest.raises(ValidationError):
        PatientData.model_validate_json(json.dumps(sent), strict=True)


def test_horizons_are_chosen_by_number() -> None:
    assert PredictionParams.model_validate({"horizons": [1, 3]}).horizons == (1.0, 3.0)
    for wrong in ({"horizons": []}, {"horizons": [float("nan")]}, {"horizon": [1]}):
        with pytest.raises(ValidationError):
            PredictionParams.model_validate(wrong)
    assert {"risks", "survival", "course", "attributions", "completeness", "uncertainty"} <= set(
        PredictionItem.model_fields
    )
