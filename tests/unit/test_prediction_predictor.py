"""Patients through decode, predict and encode, on a small untrained ensemble."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.errors import InputError
from jobs.predicting import Encoded, Source
from models.prediction.answer import Explanation, attributions
from models.prediction.contract import Contract
from models.prediction.kind import PredictionItem, PredictionParams
from models.prediction.predictor import PredictionPredictor
from models.prediction.splitting import split
from tests.prediction_model import CONTRACT, SURVIVAL, ensemble, patient, survival, trees_alone

torch.set_num_threads(1)


def predictor(contract: dict[str, Any] = CONTRACT, **calibration: float) -> PredictionPredictor:
    parts = survival() if contract is SURVIVAL else ensemble()
    return PredictionPredictor({"contract": contract, "calibration": calibration}, parts, "cpu")


def run(made: PredictionPredictor, sent: list[Any], **params: Any) -> list[Encoded]:
    chosen = PredictionParams.model_validate(params)
    decoded = [made.decode(Source(data=one), chosen) for one in sent]
    outputs = made.predict(decoded)
    return [made.encode(d, o, position) for position, (d, o) in enumerate(zip(decoded, outputs, strict=True))]


def test_an_item_is_as_the_schema_says_and_its_weights_add_up() -> None:
    for encoded in run(predictor(), [patient(seed) for seed in range(4)]):
        item = PredictionItem.model_validate(encoded.item)
        json.dumps(encoded.item, allow_nan=False)
        assert item.completeness is not None
        assert abs(item.completeness.error) <= 0.02 + 0.01 * abs(item.completeness.difference)
        low, high = item.risks[0].interval
        assert low <= item.risks[0].probability <= high
        weights = [abs(one.weight) for one in item.attributions]
        assert weights == sorted(weights, reverse=True)
        assert [one.time for one in item.over_time] == [float(hour) for hour in range(1, 49)]
        assert item.over_time[-1].probability == pytest.approx(item.risks[0].probability, abs=1e-6)


def test_only_what_was_measured_is_attributed_and_in_its_own_hour() -> None:
    """Given one heart rate at 5.5 h, then the hour that starts at 5 and the static values carry all the weight."""
    sent = {"static": {"Age": 80, "Gender": 1}, "observations": [{"time": 5.5, "name": "HR", "value": 140}]}
    (encoded,) = run(predictor(), [sent])
    found = {(one["feature"], one["time"]) for one in encoded.item["attributions"]}
    assert found == {("HR", 5.0), ("Age", None), ("Gender", None)}
    total = sum(one["weight"] for one in encoded.item["attributions"])
    assert total == pytest.approx(encoded.item["completeness"]["sum"], abs=1e-4)


def test_the_heaviest_come_first_whichever_way_they_pull() -> None:
    """Given weights .1 and -.3 on two measured hours and .2 on the age, then the order is -.3, .2, .1."""
    values, measured = np.zeros((2, 3)), np.zeros((2, 3), dtype=bool)
    values[0, 0], values[1, 2] = 0.1, -0.3
    measured[0, 0] = measured[1, 2] = True
    held = Explanation(values, np.array([0.2, 0.0]), np.array([5.0, 6.0]), measured, np.zeros(2), 0.0)
    found = attributions(Contract.read(CONTRACT), held)
    assert found == [
        {"feature": "Lactate", "time": 6.0, "weight": -0.3},
        {"feature": "Age", "time": None, "weight": 0.2},
        {"feature": "HR", "time": 5.0, "weight": 0.1},
    ]


def test_an_average_value_weighs_nothing() -> None:
    sent = {"static": {"Age": 60}, "observations": [{"time": 5.5, "name": "HR", "value": 88.0}]}
    (encoded,) = run(predictor(), [sent])
    assert encoded.item["attributions"] == []
    assert encoded.item["completeness"]["difference"] == pytest.approx(0.0, abs=1e-6)


def test_patients_in_a_batch_may_ask_for_different_things() -> None:
    made = predictor()
    params = [PredictionParams(explain=False), PredictionParams(), PredictionParams(picture=False)]
    decoded = [made.decode(Source(data=patient(3)), one) for one in params]
    plain, full, bare = [made.encode(d, o, 0) for d, o in zip(decoded, made.predict(decoded), strict=True)]
    assert (plain.item["attributions"], plain.item["completeness"], plain.artifacts) == ([], None, ())
    assert full.item["attributions"] == bare.item["attributions"] != []
    assert [file.name for file in full.artifacts] == ["course-0.svg"]
    assert bare.artifacts == ()
    assert plain.item["risks"] == full.item["risks"] == bare.item["risks"]


def test_a_model_without_networks_says_that_it_attributes_nothing() -> None:
    made = PredictionPredictor({"contract": CONTRACT}, trees_alone(), "cpu")
    encoded, other = run(made, [patient(1), patient(2)])
    assert encoded.item["risks"] != other.item["risks"]
    assert encoded.item["attributions"] == []
    assert encoded.artifacts == ()
    assert any("trees alone" in note for note in encoded.item["notes"])


def test_a_survival_model_gives_its_curve_and_the_horizons_that_were_chosen() -> None:
    made = predictor(SURVIVAL)
    (every,) = run(made, [patient(1)])
    assert [one["horizon"] for one in every.item["risks"]] == [1.0, 2.0, 3.0]
    assert every.item["survival"]["times"] == [0.0, 1.0, 2.0, 3.0, 4.0]
    for risk, alive in zip(every.item["risks"], every.item["survival"]["survival"][1:-1], strict=True):
        assert risk["probability"] == pytest.approx(1 - alive, abs=2e-6)
    visits = sorted({one["time"] for one in patient(1)["observations"]})
    assert [one["time"] for one in every.item["over_time"]] == visits
    assert every.item["over_time"][-1]["probability"] == pytest.approx(every.item["risks"][0]["probability"])
    (chosen,) = run(made, [patient(1)], horizons=[2])
    assert chosen.item["risks"] == [every.item["risks"][1]]
    with pytest.raises(InputError, match=r"those of this model \(1, 2, 3\)"):
        run(made, [patient(1)], horizons=[2, 7])
    with pytest.raises(InputError, match="its outcome has no time"):
        run(predictor(), [patient(1)], horizons=[2])


@pytest.mark.parametrize(
    ("sent", "calibration", "words"),
    [
        ({"static": {"Age": 119}, "observations": patient(0)["observations"]}, {}, "unlike those"),
        ({"static": {"Age": 60}}, {}, "Nothing was measured"),
        (patient(0), {"spread": 1e-9}, "disagree"),
        (patient(0), {"spread": 0.5}, None),
    ],
)
def test_it_abstains_and_says_why(sent: Any, calibration: dict[str, float], words: str | None) -> None:
    made = predictor(**calibration)
    (encoded,) = run(made, [sent])
    doubt = encoded.item["uncertainty"]
    assert doubt["abstain"] is (words is not None)
    assert doubt["in_distribution"] is (words != "unlike those")
    assert (doubt["reason"] is None) if words is None else (words in doubt["reason"])
    assert encoded.item["risks"]


def test_a_file_of_one_patient_says_what_inline_data_says(tmp_path: Path) -> None:
    made = predictor()
    path = tmp_path / "patient"
    path.write_text(json.dumps(patient(5)))
    params = PredictionParams()
    assert made.decode(Source((path,)), params) == made.decode(Source(data=patient(5)), params)
    path.write_text(json.dumps([patient(5), patient(6)]))
    with pytest.raises(InputError, match="more than one patient"):
        made.decode(Source((path,)), params)
    with pytest.raises(InputError, match="A patient is a JSON object"):
        made.decode(Source(), params)


def test_a_table_of_patients_says_what_their_json_says(tmp_path: Path) -> None:
    """Given three patients as JSON and as one long table, then their items are the same."""
    sent = [patient(seed) for seed in range(3)]
    rows = ["subject,time,name,value"]
    for number, one in enumerate(sent):
        rows += [f"p{number},,{name},{value}" for name, value in one["static"].items()]
        rows += [f"p{number},{o['time']},{o['name']},{o['value']}" for o in one["observations"]]
    path = tmp_path / "table"
    path.write_text("\n".join(rows))
    data = [one.data for one in split(path) if isinstance(one, Source)]
    made = predictor()
    assert [one.item for one in run(made, data)] == [one.item for one in run(made, sent)]


def test_the_predictor_says_how_it_ran() -> None:
    facts = predictor().provenance()
    assert {"device", "precision", "threads", "libraries"} <= set(facts)
    assert predictor().max_batch >= 256
