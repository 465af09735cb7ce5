"""The shipped diagnosis models on the real test parts: what their cards say is what they do."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from imaging.drawing import png
from imaging.writing import secondary_capture
from jobs.predicting import Source
from models.catalogue import catalogue
from models.data.canonical import TEST, fingerprint
from models.data.formats.medmnist import read
from models.data.options import MedmnistOptions
from models.diagnosis import accuracy, metrics
from models.diagnosis.kind import DiagnosisItem, DiagnosisParams
from models.diagnosis.predictor import load

NAMES = sorted(accuracy.FILES)
OPTIONS = {
    "chest-pneumonia": MedmnistOptions(classes=("normal", "pneumonia"), fit="centre-square"),
    "breast-malignancy": MedmnistOptions(classes=("malignant", "normal or benign")),
}
"""What was said of each data set when it was added."""


@pytest.mark.parametrize("name", NAMES)
def test_given_the_test_part_when_recomputed_then_every_figure_agrees_with_the_card(name: str, test_data: Path) -> None:
    now = accuracy.recompute(name, test_data / "imaging")

    assert accuracy.disagreements(catalogue().resolve(name).manifest, now) == []


@pytest.mark.parametrize("name", NAMES)
def test_given_the_training_data_when_fingerprinted_then_it_is_what_the_card_names(name: str, test_data: Path) -> None:
    data = read([test_data / "imaging" / accuracy.FILES[name]], OPTIONS[name])

    assert fingerprint(data) == catalogue().resolve(name).manifest["data"]["fingerprint"]


def test_given_test_images_as_dicom_and_png_when_diagnosed_then_both_give_the_networks_own_answers(
    test_data: Path, tmp_path: Path
) -> None:
    data = read([test_data / "imaging" / "pneumoniamnist.npz"], MedmnistOptions())
    part = data.take(data.part(TEST))
    predictor = load(catalogue().resolve("chest-pneumonia"), "cpu")
    quick = DiagnosisParams(explain=False)
    answers = []
    for number, image in enumerate(part.images[:64]):
        said = {"series_description": "test", "derivation_description": "test", "patient_id": "T", "modality": "CR"}
        (tmp_path / f"{number}.dcm").write_bytes(secondary_capture(image, **said))
        (tmp_path / f"{number}.png").write_bytes(png(image))
        both = [predictor.decode(Source((tmp_path / f"{number}.{end}",)), quick) for end in ("dcm", "png")]
        outputs = predictor.predict(both)
        items = [predictor.encode(*pair, 0).item for pair in zip(both, outputs, strict=True)]
        for item in items:
            DiagnosisItem.model_validate(item)
        answers.append([item["findings"][0]["probability"] for item in items])
    found = np.array(answers)
    y = (part.labels[:64] == 1).astype(np.int64)

    assert np.abs(found[:, 0] - found[:, 1]).max() <= 1e-5
    assert metrics.auc(y, found[:, 0]) > 0.9


def test_given_the_command_when_run_then_it_prints_a_table_for_every_model_and_ends_with_0(
    test_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accuracy.main(["--data", str(test_data / "imaging")]) == 0

    printed = capsys.readouterr().out
    assert all(f"{name} version" in printed for name in NAMES)
    assert "every figure agrees" in printed


def test_given_a_card_that_flatters_when_compared_then_the_figure_is_named() -> None:
    manifest = json.loads(json.dumps(catalogue().resolve("chest-pneumonia").manifest))
    now = {name: dict(manifest["metrics"]["test"][name]) for name in accuracy.FIGURES}
    manifest["metrics"]["test"]["auc"]["value"] += 0.01

    assert len(accuracy.disagreements(manifest, now)) == 1
    assert io.StringIO("\n".join(accuracy.table(manifest, now))).readline().startswith("chest-pneumonia version")
