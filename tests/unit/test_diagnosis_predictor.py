"""The predictor on a small model of its own: order, batches, frames, pictures, refusals, and what it records."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.errors import ContractMismatch, InputError, LimitExceeded, ModelUnusable
from jobs.predicting import Encoded, Source
from models.diagnosis import precision
from models.diagnosis.kind import DiagnosisItem, DiagnosisParams
from models.diagnosis.predictor import DiagnosisPredictor, load
from tests.diagnosis_model import dicom, image, version

QUIET, EXPLAIN = DiagnosisParams(explain=False), DiagnosisParams(explain=True)


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which precision is faster is a matter of the clock; test_diagnosis_precision.py is about that."""
    monkeypatch.setattr(precision, "GAIN", 0.0)


@pytest.fixture
def predictor(tmp_path: Path) -> DiagnosisPredictor:
    return load(version(tmp_path), "cpu")


def answers(predictor: DiagnosisPredictor, sources: list[Source], params: DiagnosisParams) -> list[Encoded]:
    decoded = [predictor.decode(source, params) for source in sources]
    outputs = predictor.predict(decoded)
    return [predictor.encode(d, o, n) for n, (d, o) in enumerate(zip(decoded, outputs, strict=True))]


def probability(encoded: Encoded) -> float:
    value = encoded.item["findings"][0]["probability"]
    assert isinstance(value, float)
    return value


def test_the_probability_is_that_of_the_network_called_directly(predictor: DiagnosisPredictor, tmp_path: Path) -> None:
    (made,) = answers(predictor, [Source((dicom(tmp_path, 5),))], QUIET)
    x = torch.from_numpy(image(5).astype(np.float32) / 127.5 - 1)[None, None]
    with torch.no_grad():
        expected = predictor.network(x).softmax(dim=1)[0, 1]
    assert probability(made) == pytest.approx(float(expected), abs=1e-5)


def test_a_batch_gives_what_its_items_give_alone_in_their_order(predictor: DiagnosisPredictor, tmp_path: Path) -> None:
    sources = [Source((dicom(tmp_path, seed),)) for seed in range(9)]
    together = [probability(one) for one in answers(predictor, sources, EXPLAIN)]
    alone = [probability(answers(predictor, [source], QUIET)[0]) for source in sources]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len(set(together)) == 9


def test_given_no_wish_to_explain_then_no_picture_and_no_evidence(
    predictor: DiagnosisPredictor, tmp_path: Path
) -> None:
    (made,) = answers(predictor, [Source((dicom(tmp_path, 1),))], QUIET)
    assert made.artifacts == ()
    assert made.item["evidence"] == []
    DiagnosisItem.model_validate(made.item)


def test_the_pictures_have_the_resolution_of_the_file(predictor: DiagnosisPredictor, tmp_path: Path) -> None:
    (made,) = answers(predictor, [Source((dicom(tmp_path, 1, 280, 350),))], EXPLAIN)
    names = [artifact.name for artifact in made.artifacts]
    assert names == ["image-0.png", "evidence-0-shadow.png"]
    plain, overlay = (Image.open(io.BytesIO(artifact.content)) for artifact in made.artifacts)
    assert plain.size == (350, 280)
    assert overlay.size[0] == 350
    assert overlay.size[1] > 280  # the caption's strip stands below the pixels
    assert np.array_equal(np.asarray(plain), image(1, 280, 350))
    (entry,) = made.item["evidence"]
    assert entry["artifact"] == "evidence-0-shadow.png"
    assert all(box["box"][0] >= 35 and box["box"][0] + box["box"][2] <= 315 for box in entry["boxes"])
    DiagnosisItem.model_validate(made.item)


def test_a_map_that_failed_its_audit_is_not_shown(tmp_path: Path) -> None:
    failed = load(version(tmp_path, audit={"tests": {"cascade": True, "deletion": False}, "passed": False}), "cpu")
    (made,) = answers(failed, [Source((dicom(tmp_path, 1),))], EXPLAIN)
    assert [artifact.name for artifact in made.artifacts] == ["image-0.png"]
    (entry,) = made.item["evidence"]
    assert (entry["artifact"], entry["boxes"]) == (None, [])
    assert entry["audit"] == "1 of 2 tests passed; failed deletion: the map is not shown"


def test_of_a_series_the_frame_with_the_highest_probability_counts(
    predictor: DiagnosisPredictor, tmp_path: Path
) -> None:
    files = [dicom(tmp_path, seed) for seed in (3, 4, 5)]
    each = [probability(one) for one in answers(predictor, [Source((file,)) for file in files], QUIET)]
    for params in (QUIET, EXPLAIN):
        (made,) = answers(predictor, [Source(tuple(files))], params)
        assert probability(made) == pytest.approx(max(each), abs=1e-5)
        best = int(np.argmax(each))
        assert made.item["notes"] == [f"Frame {best + 1} of 3 counts: the finding is most probable there."]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(made.artifacts[0].content))), image(3 + best))


def test_a_series_with_too_many_frames_is_refused(predictor: DiagnosisPredictor, tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded, match="more than 3 frames"):
        predictor.decode(Source(tuple(dicom(tmp_path, seed) for seed in range(4))), QUIET)


def test_inline_data_and_another_modality_are_refused(predictor: DiagnosisPredictor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="takes images"):
        predictor.decode(Source((), {"age": 5}), QUIET)
    with pytest.raises(ContractMismatch):
        predictor.decode(Source((dicom(tmp_path, 1, modality="MR"),)), QUIET)


def calibrated(distance: float = 1e6, energy: float = 1e6, bounds: tuple[float, float] = (0.9, 0.9)) -> dict[str, Any]:
    ood = {"distance": distance, "energy": energy}
    return {"temperature": 1.0, "conformal": {"bounds": list(bounds)}, "ood": ood}


@pytest.mark.parametrize(
    ("calibration", "words", "members"),
    [
        (calibrated(distance=1e-3), "unlike those that the model was trained on", {"clear", "shadow"}),
        (calibrated(energy=-1e6), "little evidence", {"clear", "shadow"}),
        (calibrated(bounds=(1.0, 1.0)), "cannot tell clear from shadow", {"clear", "shadow"}),
        (calibrated(bounds=(0.0, 0.0)), "No class conforms", {"clear", "shadow"}),
        (calibrated(bounds=(1.0, 0.0)), None, {"clear"}),
    ],
)
def test_abstaining_has_its_reason(tmp_path: Path, calibration: dict, words: str | None, members: set[str]) -> None:
    (made,) = answers(load(version(tmp_path, calibration=calibration), "cpu"), [Source((dicom(tmp_path, 1),))], QUIET)
    doubt = made.item["uncertainty"]
    assert doubt["abstain"] is (words is not None)
    assert words is None or words in doubt["reason"]
    assert doubt["in_distribution"] is not (words is not None and "unlike" in words)
    assert set(made.item["prediction_set"]) <= members


def test_a_decision_is_positive_from_the_threshold_on(tmp_path: Path) -> None:
    source = Source((dicom(tmp_path, 1),))
    p = probability(answers(load(version(tmp_path), "cpu"), [source], QUIET)[0])
    for threshold, decision in ((p - 1e-4, "positive"), (p + 1e-4, "negative")):
        one = load(version(tmp_path, labels=[{"name": "shadow", "threshold": threshold}]), "cpu")
        assert answers(one, [source], QUIET)[0].item["findings"][0]["decision"] == decision


def test_weights_that_were_changed_or_do_not_fit_are_refused(tmp_path: Path) -> None:
    made = version(tmp_path)
    with pytest.raises(ModelUnusable, match="do not fit"):
        load(version(tmp_path, network={"name": "resnet18", "config": {"width": 8}}), "cpu")
    path = tmp_path / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelUnusable, match="sha256"):
        load(made, "cpu")
    path.unlink()
    with pytest.raises(ModelUnusable, match="cannot be read"):
        load(made, "cpu")


def test_provenance_names_device_precision_threads_and_libraries(predictor: DiagnosisPredictor) -> None:
    facts = predictor.provenance()
    assert facts["device"] == "cpu"
    assert facts["precision"] == "fp32"
    assert facts["threads"] == torch.get_num_threads()
    assert facts["libraries"]["torch"] == torch.__version__
