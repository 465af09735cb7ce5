"""`medjobs preflight`: the reason for each refusal, no inference, and nothing of the patient."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread
from pydicom.data import get_testdata_file

from medjobs.main import main
from models import catalogue

MARKER = "ZQXVMARKER"
USUAL = {
    "photometric_interpretation": ["MONOCHROME1", "MONOCHROME2"],
    "max_frames": 1,
    "min_rows": 16,
    "min_columns": 16,
}


def manifest(name: str, **contract: Any) -> dict[str, Any]:
    return {"name": name, "version": 1, "kind": "diagnosis", "contract": {**USUAL, **contract}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models, and a folder with a CT, a CT whose Modality is a name, a colour image, and no image."""
    for one in (manifest("chest-model", modality=["CR", "DX"]), manifest("ct-model", modality=["CT"])):
        place = tmp_path / "shipped" / one["name"] / "1"
        place.mkdir(parents=True)
        (place / "manifest.json").write_text(json.dumps(one))
        (place.parent / "aliases.json").write_text('{"production": 1}')
    known = catalogue.Catalogue.read({tmp_path / "shipped"})
    monkeypatch.setattr(catalogue, "catalogue", lambda: known)
    images = tmp_path / "images"
    images.mkdir()
    for name, modality in (("ct.dcm", "CT"), ("named.dcm", MARKER)):
        dataset = dcmread(str(get_testdata_file("CT_small.dcm")))
        dataset.PatientName = f"{MARKER}^ANNA"
        dataset.PatientID = MARKER
        dataset.StudyDescription = MARKER
        dataset.Modality = modality
        dataset.save_as(images / name)
    (images / "notes.txt").write_text(f"{MARKER} is no image")
    return images


def run(*typed: str) -> Result:
    return CliRunner().invoke(main, ["preflight", *typed])


def test_each_file_is_held_against_each_model_with_the_reason(folder: Path) -> None:
    found = {Path(one["file"]).name: one for one in json.loads(run(str(folder), "--json").stdout)}
    ct = found["ct.dcm"]["models"]
    assert ct["ct-model"] == {"takes": True, "reason": None}
    assert ct["chest-model"]["takes"] is False
    assert "(0008,0060) Modality is CT; this model accepts CR, DX" in ct["chest-model"]["reason"]["detail"]
    assert "ct-model" in ct["chest-model"]["reason"]["detail"], "the model that would take it is named"
    assert found["notes.txt"]["error"]["code"] == "not-an-image"
    assert not any(one["takes"] for one in found["named.dcm"]["models"].values())


def test_the_screen_counts_what_each_model_takes_and_exits_0_where_any_does(folder: Path) -> None:
    shown = run(str(folder))
    assert shown.exit_code == 0
    assert "ct-model takes 1 of 3 files." in shown.stdout
    assert "chest-model takes 0 of 3 files." in shown.stdout
    assert run(str(folder), "--model", "chest-model@1").exit_code == 1


def test_nothing_of_the_patient_is_printed(folder: Path) -> None:
    assert MARKER in (folder / "ct.dcm").read_bytes().decode("latin-1")
    for typed in ([str(folder)], [str(folder), "--json"]):
        assert MARKER not in run(*typed).output


def test_an_unknown_model_is_refused_with_the_known_ones(folder: Path) -> None:
    refused = run(str(folder), "--model", "nonsense")
    assert refused.exit_code == 2
    assert "ct-model" in refused.output


def test_preflight_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(Path(str(get_testdata_file("CT_small.dcm"))).read_bytes())
    look = (
        "import sys\nfrom pathlib import Path\nfrom medjobs.commands.preflight import check\n"
        f"check(Path({str(tmp_path / 'a')!r}), {{}})\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", look], check=True)
