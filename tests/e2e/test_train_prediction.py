"""From tables of patients to a risk: data set, training of the smallest model, and answers that give the card's AUC."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models.prediction.examples import icu
from tests.services.home import Home

PATIENTS = range(1, 161)
"""The even ones get worse. Every tenth, who does not, dies all the same, so that no figure is perfect."""

SETTINGS = ("folds=2", "bins=8", "epochs=30", "learning_rate=0.01", "thinning=0", "input_dropout=0", "batch=16")
RECIPE = ["--recipe", "gru-d", *(word for setting in SETTINGS for word in ("--set", setting))]


def died(number: int) -> int:
    return int((number % 2 == 0) or number % 10 == 1)


def part(number: int) -> str:
    """A split of our own: 96 train, 24 validation, 40 test."""
    return "test" if number % 4 == 3 else "validation" if number % 20 in (2, 5, 14) else "train"


def tables() -> dict[str, str]:
    """observations.csv and subjects.csv."""
    observations, subjects = io.StringIO(), io.StringIO()
    rows, people = csv.writer(observations), csv.writer(subjects)
    rows.writerow(("id", "time", "variable", "value"))
    people.writerow(("id", "Age", "Gender", "Height", "ICUType", "Ward", "outcome", "split"))
    for number in PATIENTS:
        one = icu(number)
        rows.writerows((f"p{number}", seen["time"], seen["name"], seen["value"]) for seen in one["observations"])
        ward = "ÄÖ" if number % 3 else "B"
        people.writerow((f"p{number}", *one["static"].values(), ward, died(number), part(number)))
    return {"observations.csv": observations.getvalue(), "subjects.csv": subjects.getvalue()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    started = Home(tmp_path_factory.mktemp("p"))
    for name, text in tables().items():
        (started.folder / name).write_text(text)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def version(home: Home) -> dict[str, Any]:
    """stays@1, as `medjobs train --watch --json` prints it."""
    options = ["--option", "split=split", "--option", 'groups=["Ward"]']
    found = home.json("data", "add", "stays", "--format", "sequences", "observations.csv", "subjects.csv", *options)
    assert found["state"] == "ready", found
    assert sum(found["counts"].values()) == len(PATIENTS)
    return dict(home.json("train", "prediction", "--data", "stays", *RECIPE, "--watch"))


def test_given_a_trained_version_when_the_test_patients_are_predicted_then_they_give_the_aucs_of_its_card(
    home: Home, version: dict[str, Any]
) -> None:
    tested = [number for number in PATIENTS if part(number) == "test"]
    with home.client() as client:
        files = [client.upload(json.dumps(icu(number)).encode()) for number in tested]
        job = client.submit("prediction", *files, model="stays@1", params={"explain": False}).wait(120)
        assert job.state == "succeeded", f"{job.data}\n{home.logs()}"
        risks = [item["risks"][0]["probability"] for item in job.result().items]

    card = version["manifest"]["metrics"]["test"]
    assert card["n"] == len(tested)
    found = roc_auc_score([died(number) for number in tested], risks)
    assert found == pytest.approx(card["auc"]["value"], abs=0.002)
    assert found > 0.55
    assert version["manifest"]["baseline"]["mean"]


def test_given_one_patient_who_is_malformed_among_many_then_one_item_is_an_error_and_nothing_of_it_leaks(
    home: Home, version: dict[str, Any]
) -> None:
    good, bad = icu(3), icu(5)
    bad["observations"][4]["value"] = "Elizabeth"
    (home.folder / "many.jsonl").write_text("\n".join(json.dumps(one) for one in (good, bad, icu(7))))
    out = home.json("submit", "many.jsonl", "--kind", "prediction", "--model", "stays@1", "--wait")

    items = out["result"]["items"] if "result" in out else out["items"]
    assert ["error" in item for item in items] == [False, True, False]
    assert "Elizabeth" not in json.dumps(out)
    assert "Elizabeth" not in home.logs()


def test_given_a_patient_typed_as_json_then_show_prints_the_risk_and_the_report_has_the_course(
    home: Home, version: dict[str, Any]
) -> None:
    home.run("models", "promote", "stays@1")
    typed = home.run("submit", "--kind", "prediction", "--model", "stays", "--data", json.dumps(icu(4)), "--wait")
    assert "outcome" in typed

    with home.client() as client:
        job = client.submit("prediction", {"data": icu(4)}, model="stays").wait(120)
        item = job.result().items[0]
        assert 0 < item["risks"][0]["interval"][0] <= item["risks"][0]["probability"] <= item["risks"][0]["interval"][1]
        assert item["attributions"]
        report = job.artifact("report.html").decode()
    assert "data:image/svg+xml" in report
    assert "Research use only" in report


def test_given_subgroups_then_the_version_tells_their_figures(version: dict[str, Any]) -> None:
    assert version["manifest"]["groups"]["Ward"] == ["B", "ÄÖ"]
    assert np.isfinite(version["manifest"]["metrics"]["test"]["auc"]["low"])
