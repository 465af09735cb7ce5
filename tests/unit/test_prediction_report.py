"""The report of a prediction: whole, self-contained, and with nobody's text taken for markup."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
import torch

from jobs.predicting import Source
from jobs.results import DISCLAIMER, Report
from models.prediction import report as page
from models.prediction.kind import PredictionParams
from models.prediction.predictor import PredictionPredictor
from models.prediction.report import IN_FULL, render
from tests.prediction_model import CONTRACT, SURVIVAL, ensemble, patient, survival

torch.set_num_threads(1)

MANIFEST = {
    "summary": "Death in hospital.", "contract": CONTRACT,
    "data": {"name": "set A", "source": "PhysioNet", "license": "ODC-By"},
    "metrics": {
        "test": {"n": 800, "auc": {"value": 0.871, "low": 0.84, "high": 0.9}, "roc": [[0, 0], [1, 1]]},
        "mean": {"auc": 0.869},
    },
    "baseline": {"name": "boosting", "mean": {"auc": 0.866}, "beaten": False},
    "card": {"known_risks": "One hospital.", "intervals": "The span of seven members."},
}  # fmt: skip


def job(count: int, contract: dict[str, Any] = CONTRACT) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The result of a job over `count` patients, and its artifacts."""
    parts = survival() if contract is SURVIVAL else ensemble()
    made = PredictionPredictor({"contract": contract}, parts, "cpu")
    decoded = [made.decode(Source(data=patient(seed)), PredictionParams()) for seed in range(count)]
    encoded = [made.encode(d, o, at) for at, (d, o) in enumerate(zip(decoded, made.predict(decoded), strict=True))]
    files = [file for one in encoded for file in one.artifacts]
    result = {
        "kind": "prediction", "model": {"name": "icu-mortality", "version": 1}, "items": [one.item for one in encoded],
        "artifacts": [
            {"name": file.name, "media_type": file.media_type, "href": "", "item": file.item} for file in files
        ],
        "warnings": [], "provenance": made.provenance(), "disclaimer": DISCLAIMER,
    }  # fmt: skip
    return result, {file.name: file.content for file in files}


def drawn(result: dict[str, Any], files: dict[str, bytes], manifest: dict[str, Any] | None = None) -> str:
    told = {"id": "1", "created_at": "2026-01-01T00:00:00Z", "finished_at": None, "labels": {}}
    return render(Report(told, result, files.__getitem__, manifest))


def test_it_holds_the_risk_the_picture_and_what_the_model_is() -> None:
    result, files = job(2)
    text = drawn(result, files, MANIFEST)
    assert text.count(DISCLAIMER) >= 2
    for item in result["items"]:
        assert f"{item['risks'][0]['probability']:.1%}" in text
    sources = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]+)"', text)
    assert [base64.b64decode(one) for one in sources] == list(files.values())
    for words in (
        "0.871 (0.840 to 0.900)",
        "0.869",
        "0.866",
        "the model does not beat it",
        "The span of seven members.",
    ):
        assert words in text
    assert not re.search(r"""(src|href)=["']https?:|<script""", text)


def test_many_patients_are_a_table_beyond_the_first() -> None:
    """Given three more than are shown in full, one of them refused, then each of the three has a row."""
    result, files = job(3)
    result["items"] = (result["items"] * IN_FULL)[: IN_FULL + 3]
    result["items"][-1] = {"error": {"title": "Bad input", "code": "bad-input", "detail": "static is <wrong>"}}
    text = drawn(result, files)
    assert text.count("<h3>Patient ") == IN_FULL
    table = text[text.index("Further patients") :]
    assert f'<td class="n">{IN_FULL + 3}</td><td colspan="3">not answered</td>' in table
    assert "static is &lt;wrong&gt;" in table
    assert table.count("<tr><td") >= 3


def test_a_bad_patient_stands_in_its_place_and_nothing_is_markup() -> None:
    result, files = job(2)
    result["items"][0] = {"error": {"title": "Bad input", "code": "bad-input", "detail": "<script>alert(1)</script>"}}
    result["items"][1]["notes"] = ["<b>bold</b>"]
    text = drawn(result, files)
    assert "&lt;script&gt;alert(1)" in text
    assert "<b>bold" not in text


def test_horizons_and_survival_are_named_in_the_model_s_unit() -> None:
    result, files = job(1, SURVIVAL)
    text = drawn(result, files, {**MANIFEST, "contract": SURVIVAL})
    assert "death within 1 years" in text
    assert "death within 2 years" in text


def test_a_model_s_course_is_told_beside_the_last_value() -> None:
    result, files = job(1)
    result["items"][0]["course"] = {
        "variable": "serBilir",
        "last": 1.4,
        "next": 1.63,
        "interval": [1.1, 2.4],
        "coverage": 0.9,
    }
    text = drawn(result, files)
    assert "1.63 (1.1 to 2.4, made to hold 90 % of true values); last measured 1.4" in text


def test_pictures_beyond_the_room_are_named_only(monkeypatch: pytest.MonkeyPatch) -> None:
    result, files = job(2)
    monkeypatch.setattr(page, "MOST_PICTURE_BYTES", len(files["course-0.svg"]) + 1)
    text = drawn(result, files)
    assert text.count("data:image/svg+xml") == 1
    assert "course-1.svg, not shown here" in text
