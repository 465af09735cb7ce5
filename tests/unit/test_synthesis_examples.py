"""The example images: what the command makes from the shipped weights, small, valid and marked as synthetic."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom import Dataset, dcmread
from pydicom.uid import UID, JPEGLSLossless

from models.synthesis.examples import SIDE, main

SHIPPED = Path(__file__).parents[2] / "examples" / "data"
NAMES = [f"chest-{number:02d}.dcm" for number in range(1, 25)]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small products are slower on several threads than on one, far slower beside other programs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def made(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    main(["--out", str(folder)])
    return folder


def _shipped() -> list[Dataset]:
    return [dcmread(SHIPPED / name) for name in NAMES]


def test_the_shipped_files_are_what_the_command_makes(made: Path) -> None:
    assert sorted(path.name for path in SHIPPED.glob("*.dcm")) == NAMES
    assert sorted(path.name for path in made.iterdir()) == NAMES
    different = [name for name in NAMES if (made / name).read_bytes() != (SHIPPED / name).read_bytes()]
    assert different == []


def test_all_of_them_together_are_small() -> None:
    assert sum((SHIPPED / name).stat().st_size for name in NAMES) < 400_000


def test_each_says_in_its_header_that_it_is_synthetic() -> None:
    for number, dataset in enumerate(_shipped(), 1):
        assert dataset.PatientID == f"SYNTHETIC-{number:02d}"
        assert str(dataset.PatientName).startswith("SYNTHETIC")
        assert dataset.SeriesDescription.endswith("pneumonia" if number % 2 == 0 else "normal")
        assert dataset.SeriesDescription.startswith("SYNTHETIC")
        assert "generative model" in dataset.DerivationDescription
        assert "28 x 28 pixels and enlarged to 224 x 224" in dataset.DerivationDescription
        assert dataset.ImageType[0] == "DERIVED"
        assert dataset.PatientBirthDate == dataset.PatientSex == ""


def test_each_is_an_image_that_the_chest_model_may_read() -> None:
    for dataset in _shipped():
        assert (dataset.Modality, dataset.BodyPartExamined) == ("CR", "CHEST")
        assert dataset.PhotometricInterpretation == "MONOCHROME2"
        assert dataset.BurnedInAnnotation == "NO"
        assert dataset.file_meta.TransferSyntaxUID == JPEGLSLossless
        pixels = dataset.pixel_array
        assert pixels.shape == (SIDE, SIDE)
        assert pixels.dtype == np.uint8
        assert np.ptp(pixels) > 60


def test_no_two_share_an_identifier() -> None:
    for level in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID"):
        values = [str(dataset[level].value) for dataset in _shipped()]
        assert len(set(values)) == len(NAMES), level
        assert not level.endswith("UID") or all(UID(value).is_valid for value in values)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_dciodvfy_finds_no_error() -> None:
    for name in NAMES:
        said = subprocess.run(["dciodvfy", SHIPPED / name], capture_output=True, text=True, check=False)
        assert "Error" not in said.stderr + said.stdout, said.stderr
        assert said.returncode == 0


def test_the_uncompressed_picture_is_not_lost(made: Path) -> None:
    """Lossless means: a copy that was written again without compression has the same pixels."""
    dataset = dcmread(made / NAMES[0])
    before = dataset.pixel_array.copy()
    dataset.decompress()
    out = io.BytesIO()
    dataset.save_as(out)
    out.seek(0)
    assert np.array_equal(dcmread(out).pixel_array, before)
