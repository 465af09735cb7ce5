"""A synthesis job: what it draws depends on seed, class and place alone; nothing leaves unmarked, or past the gate."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from pydicom import Dataset, dcmread
from pydicom.uid import UID

from jobs.errors import ExportRefused, InputError, ModelUnusable
from jobs.predicting import ModelVersion
from jobs.results import DISCLAIMER, Report
from jobs.running import Finished, Stop
from models.synthesis import runner
from models.synthesis.drawing import load
from models.synthesis.examples import shipped
from models.synthesis.kind import KIND, MOST, SynthesisItem, SynthesisParams
from models.synthesis.report import render
from models.synthesis.runner import run
from models.training.local import LocalWork
from tests.conftest import absent
from tests.synthetic_shapes import CLASSES, REFUSED, version


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    return version(tmp_path_factory.mktemp("shapes"))


class Job(LocalWork):
    """A job that is told to stop before portion number `stop_at`."""

    def __init__(self, model: ModelVersion | None, seed: int = 7, stop_at: int | None = None, **params: Any) -> None:
        super().__init__(seed)
        self.params = SynthesisParams.model_validate(params)
        self.model = model
        self.stop_at, self.portions = stop_at, 0

    def step(self) -> None:
        self.portions += 1
        if self.stop_at is not None and self.portions > self.stop_at:
            raise Stop


def files(finished: Finished) -> dict[str, bytes]:
    return {one.name: one.content for one in finished.artifacts}


def arrays(finished: Finished) -> dict[str, Any]:
    with np.load(io.BytesIO(files(finished)["synthetic.npz"]), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def dicoms(finished: Finished) -> dict[str, Dataset]:
    found = members(files(finished)["synthetic-dicom.zip"])
    return {name: dcmread(io.BytesIO(content)) for name, content in found.items() if name.endswith(".dcm")}


def test_a_picture_does_not_depend_on_how_many_are_asked_for_nor_on_what_stands_beside_it(shelf: ModelVersion) -> None:
    generator = load(shelf)
    many = generator.series(130, 1, 9)  # more than two batches
    assert np.array_equal(many[:1], generator.series(1, 1, 9))
    assert np.array_equal(many[:65], generator.series(65, 1, 9))
    assert len(np.unique(many, axis=0)) == 130
    mixed = generator.draw([0, 1, 0, 1], [5, 128, 6, 3], 9)
    assert np.array_equal(mixed[[1, 3]], many[[128, 3]])
    assert generator.series(0, 0, 0).shape == (0, 16, 16)


def test_equal_jobs_give_equal_files_and_another_seed_others(shelf: ModelVersion) -> None:
    first, again, other = (run(Job(shelf, seed=seed, count=20)) for seed in (7, 7, 8))
    assert files(first) == files(again)
    assert first.items == again.items != other.items
    assert len(np.unique(np.concatenate([arrays(first)["images"], arrays(other)["images"]]), axis=0)) == 40


def test_the_first_of_many_are_those_of_a_few_and_the_classes_take_turns(shelf: ModelVersion) -> None:
    few, many = arrays(run(Job(shelf, count=5))), arrays(run(Job(shelf, count=31)))
    assert np.array_equal(many["images"][:5], few["images"])
    assert few["labels"].tolist() == [0, 1, 0, 1, 0]
    assert few["classes"].tolist() == list(CLASSES)
    assert "SYNTHETIC" in str(few["note"])
    alone = arrays(run(Job(shelf, count=3, **{"class": "right"})))
    assert alone["labels"].tolist() == [1, 1, 1]
    assert np.array_equal(alone["images"][:2], few["images"][1:5:2])


def test_a_large_set_that_is_interrupted_goes_on_and_is_the_same(
    shelf: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a stop after three portions of sixteen, then those are not drawn again."""
    monkeypatch.setattr(runner, "PORTION", 16)
    whole = run(Job(shelf, count=100))
    work = Job(shelf, count=100, stop_at=3)
    with pytest.raises(Stop):
        run(work)
    work.stop_at, work.portions = None, 0
    finished = run(work)
    assert work.portions == 4  # 52 pictures were left
    assert files(finished) == files(whole)
    assert work.logs == ["goes on from a checkpoint: 48 of 100 pictures are drawn"]


def test_the_item_counts_what_the_file_holds_and_fits_its_schema(shelf: ModelVersion) -> None:
    finished = run(Job(shelf, count=9, format="png"))
    (item,) = finished.items
    SynthesisItem.model_validate(item)
    json.dumps(item, allow_nan=False)
    content = files(finished)[item["file"]]
    assert item["sha256"] == hashlib.sha256(content).hexdigest()
    assert item["classes"] == {"left": 5, "right": 4}
    pictures = {name: one for name, one in members(content).items() if name.endswith(".png")}
    assert sorted(pictures)[0] == "0-left/00001.png"
    assert len(pictures) == 9
    drawn = arrays(run(Job(shelf, count=9)))["images"]
    opened = Image.open(io.BytesIO(pictures["1-right/00002.png"]))
    assert np.array_equal(np.asarray(opened), drawn[3])
    assert "no patient was imaged" in opened.text["Description"]  # type: ignore[attr-defined]


def test_dicom_is_marked_in_every_place_that_a_viewer_shows_and_no_identifier_is_shared(shelf: ModelVersion) -> None:
    found = dicoms(run(Job(shelf, count=6, format="dicom")))
    drawn = arrays(run(Job(shelf, count=6)))["images"]
    assert len(found) == 6
    for name, dataset in found.items():
        place = int(name[-9:-4]) - 1
        assert np.array_equal(dataset.pixel_array, drawn[2 * place + int(name[0])])
        assert dataset.SeriesDescription == f"SYNTHETIC shapes, drawn as {CLASSES[int(name[0])]}"
        assert str(dataset.PatientName).startswith("SYNTHETIC")
        assert "No patient was imaged" in dataset.DerivationDescription
        assert (dataset.Modality, dataset.BodyPartExamined, dataset.StudyDate) == ("CR", "CHEST", "20260102")
        assert dataset.ImageType[0] == "DERIVED"
    for level in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID"):
        values = {str(dataset[level].value) for dataset in found.values()}
        assert len(values) == 6, level
        assert not level.endswith("UID") or all(UID(value).is_valid for value in values)
    again = dicoms(run(Job(shelf, count=8, format="dicom")))
    assert {again[name].SOPInstanceUID for name in found} == {dataset.SOPInstanceUID for dataset in found.values()}


def test_dciodvfy_finds_no_error_in_what_is_drawn(shelf: ModelVersion, tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        absent("dciodvfy (dicom3tools) is not installed")
    for name, content in members(files(run(Job(shelf, count=2, format="dicom")))["synthetic-dicom.zip"]).items():
        if name.endswith(".dcm"):
            path = tmp_path / name.replace("/", "-")
            path.write_bytes(content)
            said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
            assert "Error" not in said.stderr + said.stdout, said.stderr
            assert said.returncode == 0


def test_the_sheet_shows_the_first_pictures_of_each_class(shelf: ModelVersion) -> None:
    sheet = Image.open(io.BytesIO(files(run(Job(shelf, count=64)))["sheet.png"]))
    assert sheet.size[0] == 8 * 116 + 4
    assert sheet.size[1] > 8 * 116
    assert "SYNTHETIC" in sheet.text["Description"]  # type: ignore[attr-defined]
    small = Image.open(io.BytesIO(files(run(Job(shelf, count=1)))["sheet.png"]))
    assert small.size[1] < 200


def test_what_did_not_pass_its_gate_is_not_drawn_and_the_refusal_says_which_figure(tmp_path: Path) -> None:
    with pytest.raises(ExportRefused) as refused:
        run(Job(version(tmp_path, REFUSED), count=1))
    assert "coverage is 0.120; at least 0.6 is asked for" in refused.value.detail
    assert refused.value.as_dict()["failures"] == REFUSED["failures"]


@pytest.mark.parametrize("gate", [{}, {"passed": None}, {"passed": "yes"}])
def test_what_was_never_measured_is_not_drawn_either(gate: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ExportRefused):
        run(Job(version(tmp_path, gate), count=1))


def test_a_class_that_does_not_exist_is_refused_with_those_that_do(shelf: ModelVersion) -> None:
    with pytest.raises(InputError, match="one of: left, right") as refused:
        run(Job(shelf, count=1, **{"class": "Mrs Smith"}))
    assert "Smith" not in refused.value.detail


def test_a_version_that_is_no_generator_of_images_or_was_changed_is_named(shelf: ModelVersion, tmp_path: Path) -> None:
    other = ModelVersion("patients", 2, "synthesis", shelf.folder, {"gate": {"passed": True}, "network": {"name": "x"}})
    with pytest.raises(ModelUnusable, match="patients@2 describes no generator of images"):
        run(Job(other, count=1))
    changed = version(tmp_path / "changed")
    content = bytearray((changed.folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (changed.folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(ModelUnusable, match="differ from the manifest's sha256"):
        run(Job(changed, count=1))
    with pytest.raises(ModelUnusable, match="name one"):
        run(Job(None, count=1))


@pytest.mark.parametrize("params", [
    {"count": 0}, {"count": -1}, {"count": 10**9}, {"count": MOST + 1}, {"count": 1.5}, {"format": "jpeg"},
    {"class": ["left"]}, {"number": 3},
])  # fmt: skip
def test_params_out_of_range_are_refused_before_there_is_a_job(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SynthesisParams.model_validate_json(json.dumps(params), strict=True)


def test_params_are_kept_under_the_names_that_a_caller_gives_them() -> None:
    kept = SynthesisParams.model_validate({"count": 3, "class": "left"}).model_dump(mode="json")
    assert kept == {"count": 3, "class": "left", "format": "npz"}
    assert SynthesisParams.model_validate(kept).class_ == "left"
    assert set(KIND.params.model_json_schema()["properties"]) == {"count", "class", "format"}


def test_the_report_is_one_page_with_the_sheet_inside(shelf: ModelVersion) -> None:
    finished = run(Job(shelf, count=16))
    held = files(finished)
    result = {
        "kind": "synthesis", "model": {"name": "shapes", "version": 1}, "items": finished.items, "warnings": [],
        "artifacts": [{"name": name} for name in held], "provenance": {"seed": 7},
    }  # fmt: skip
    job = {"id": "1", "labels": {"study": "<b>"}, "created_at": "2026-01-01", "finished_at": "2026-01-02"}
    page = render(Report(job, result, held.__getitem__, shelf.manifest))
    assert DISCLAIMER in page
    assert "data:image/png;base64," in page
    assert "The gate is passed" in page
    assert "<b>" not in page
    assert not re.search(r"""(src|href)=["']https?:""", page)


def test_the_shipped_generator_is_small_passed_its_gate_and_caught_its_memoriser() -> None:
    generator = shipped()
    manifest = generator.manifest
    assert sum(path.stat().st_size for path in generator.folder.iterdir()) < 5_000_000
    assert manifest["gate"]["passed"] is True
    assert manifest["quality"]["generated"]["coverage"]["coverage"] >= 0.6
    assert manifest["usefulness"]["drop"]["value"] <= 0.05
    assert all(one["auc"]["low"] > 0.6 for one in manifest["privacy"]["control"].values())
    assert all(one["auc"]["value"] < 0.55 for one in manifest["privacy"]["attacks"].values())
    assert manifest["data"]["license"] == "CC BY 4.0"
    drawn = load(generator)
    lungs = [np.quantile(drawn.series(48, label, 11).reshape(48, -1), 0.1, axis=1).mean() for label in (0, 1)]
    assert (
        lungs[1] > lungs[0] + 3
    )  # consolidation is what the classes differ by: the darkest tenth, the lungs, is whiter
