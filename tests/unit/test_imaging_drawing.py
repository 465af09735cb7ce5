"""Pictures and DICOM out."""

from __future__ import annotations

import io
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow

from imaging.drawing import CAPTION, evidence_caption, overlay, png, stretched
from imaging.reading import read_image
from imaging.writing import secondary_capture, synthetic_capture

GREY = np.full((40, 60), 100, np.uint8)


class TestPng:
    @pytest.mark.parametrize("pixels", [GREY, GREY.astype(np.uint16) * 500, np.stack([GREY] * 3, axis=2)])
    def test_pixels_survive(self, pixels: np.ndarray) -> None:
        assert np.array_equal(np.asarray(Pillow.open(io.BytesIO(png(pixels)))), pixels)

    def test_other_arrays_are_not_guessed_at(self) -> None:
        with pytest.raises(ValueError, match="takes"):
            png(GREY.astype(np.float32))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="takes"):
            png(np.zeros((2, 2, 4), np.uint8))


class TestOverlay:
    def test_a_cold_map_changes_nothing(self) -> None:
        drawn = overlay(GREY, np.zeros((4, 4), np.float32))
        assert np.array_equal(drawn, np.stack([GREY] * 3, axis=2))

    def test_heat_is_red_where_the_map_is_hot(self) -> None:
        heat = np.zeros((2, 2), np.float32)
        heat[0, 1] = 1
        drawn = overlay(GREY, heat)
        assert drawn.shape == (40, 60, 3)
        assert drawn[0, 59].tolist() == [185, 45, 45]  # 100 x 0.45 + (255, 0, 0) x 0.55
        assert drawn[39, 0].tolist() == [100, 100, 100]

    def test_stretching_is_bilinear_and_survives_nan(self) -> None:
        wide = stretched(np.array([[0, 1]], np.float32), 1, 4)
        assert wide[0].tolist() == [0, 0.25, 0.75, 1]
        assert stretched(np.array([[np.nan, 5]], np.float32), 1, 2).tolist() == [[0, 1]]

    def test_a_box_is_drawn_on_its_pixels(self) -> None:
        drawn = overlay(GREY, np.zeros((1, 1), np.float32), [(10, 5, 20, 8)])
        changed = np.argwhere((drawn != 100).any(axis=2))
        assert changed.min(axis=0).tolist() == [5, 10]
        assert changed.max(axis=0).tolist() == [12, 29]

    def test_the_caption_covers_no_pixel(self) -> None:
        caption = evidence_caption(28, 28)
        assert CAPTION in caption
        assert "28 x 28" in caption
        drawn = overlay(GREY, np.zeros((1, 1), np.float32), caption=caption)
        assert (drawn[:40, :60] == 100).all()
        assert drawn.shape[0] > 60
        assert drawn[40:].max() > 200


class TestSecondaryCapture:
    MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def made(self) -> bytes:
        pixels = np.arange(15, dtype=np.uint8).reshape(3, 5)
        return synthetic_capture(
            pixels, generator="dcgan 1", patient_id="VIRTUAL-1", modality="CR", created=self.MOMENT, uid_entropy=["a"]
        )

    def test_it_reads_back(self) -> None:
        image = read_image(self.made())
        assert image.frames.ravel().tolist() == list(range(15))
        assert image.header.modality == "CR"

    def test_it_says_everywhere_that_it_is_synthetic(self) -> None:
        header = pydicom.dcmread(io.BytesIO(self.made()))
        assert header.ImageType == ["DERIVED", "SECONDARY"]
        assert header.SeriesDescription.startswith("SYNTHETIC")
        assert header.DerivationDescription.startswith("SYNTHETIC")
        assert str(header.PatientName).startswith("SYNTHETIC")
        assert header.SOPClassUID.name == "Secondary Capture Image Storage"

    def test_the_same_call_gives_the_same_bytes(self) -> None:
        assert self.made() == self.made()

    def test_uids_differ_between_instances(self) -> None:
        shared = {"series_description": "s", "derivation_description": "d", "patient_id": "p"}
        one, two = (
            pydicom.dcmread(io.BytesIO(secondary_capture(GREY, instance_number=n, uid_entropy=["a"], **shared)))
            for n in (1, 2)
        )
        assert one.SOPInstanceUID != two.SOPInstanceUID
        assert one.SeriesInstanceUID == two.SeriesInstanceUID

    def test_dciodvfy_finds_no_error(self, tmp_path: Path) -> None:
        if shutil.which("dciodvfy") is None:
            pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")
        path = tmp_path / "made.dcm"
        path.write_bytes(self.made())
        answer = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert "SCImage" in answer.stderr + answer.stdout
        assert "Error" not in answer.stderr + answer.stdout
