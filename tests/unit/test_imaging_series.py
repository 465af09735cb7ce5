"""Headers, and the order of a series in space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imaging.header import Header, read_header
from imaging.series import order_series
from jobs.errors import BadSeries, InputError
from tests.imaging_files import PACKAGED, dicom


def slice_at(place: float, **attributes: Any) -> Header:
    stated: dict[str, Any] = {
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-5, 3, place],
        "FrameOfReferenceUID": "1.2.3.4",
    }
    return read_header(dicom(**{**stated, **attributes}))


class TestHeader:
    def test_ct_small_says_what_dcmdump_prints(self) -> None:
        header = read_header(PACKAGED / "CT_small.dcm")
        assert (header.rows, header.columns, header.modality, header.bits_stored) == (128, 128, "CT", 16)
        assert header.transfer_syntax_uid == "1.2.840.10008.1.2.1"
        assert header.pixel_spacing == (0.661468, 0.661468)
        assert header.image_position_patient == (-158.135803, -179.035797, -75.699997)

    def test_imager_pixel_spacing_stands_in_and_says_so(self) -> None:
        header = read_header(dicom(ImagerPixelSpacing=["0.2", "0.1"]))
        assert header.pixel_spacing == (0.2, 0.1)
        assert header.geometry.spacing_source == "ImagerPixelSpacing"
        both = read_header(dicom(PixelSpacing=["0.5", "0.4"], ImagerPixelSpacing=["0.2", "0.1"]))
        assert both.pixel_spacing == (0.5, 0.4)

    def test_a_long_file_is_read_only_as_far_as_its_pixels(self, tmp_path: Path) -> None:
        """Cut in the middle of the pixels the header is all there; the whole image is not."""
        source = dicom(np.zeros((2048, 2048), np.uint8), ViewPosition="PA")
        path = tmp_path / "long"
        path.write_bytes(source[:3_000_000])
        assert read_header(path).view_position == "PA"

    def test_no_pixel_data_is_known_by_the_header(self) -> None:
        with pytest.raises(InputError) as caught:
            read_header(PACKAGED / "test-SR.dcm")
        assert caught.value.code == "no-pixel-data"


class TestOrder:
    def test_slices_are_sorted_by_place_not_by_number(self) -> None:
        series = order_series(
            [slice_at(10, InstanceNumber=1), slice_at(0, InstanceNumber=2), slice_at(5, InstanceNumber=3)]
        )
        assert series.order == (1, 2, 0)
        assert series.places_mm == (0, 5, 10)
        assert series.spacing_mm == 5
        assert series.gaps == ()

    def test_an_oblique_stack_is_sorted_along_its_normal(self) -> None:
        """Coronal planes: the normal is row x column = (1,0,0) x (0,0,-1) = (0,1,0)."""
        turned = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}
        headers = [slice_at(0, ImagePositionPatient=[z, y, z], **turned) for y, z in ((4, 1), (2, 9), (0, 5))]
        assert order_series(headers).order == (2, 1, 0)

    def test_missing_slices_are_named(self) -> None:
        series = order_series([slice_at(place) for place in (0, 2, 4, 10, 12)])
        (gap,) = series.gaps
        assert (gap.after, gap.before, gap.missing) == (2, 3, 2)
        assert "between 4.00 and 10.00 mm" in gap.message

    @pytest.mark.parametrize(
        ("other", "tag"),
        [
            ({"SeriesInstanceUID": "1.2.9"}, "SeriesInstanceUID"),
            ({"FrameOfReferenceUID": "1.2.9"}, "FrameOfReferenceUID"),
            ({"ImageOrientationPatient": [1, 0, 0, 0, 0, 1]}, "ImageOrientationPatient"),
            ({"ImageOrientationPatient": None}, "ImageOrientationPatient"),
            ({"ImagePositionPatient": None}, "ImagePositionPatient"),
            ({"ImagePositionPatient": [9, 9, 0]}, "ImagePositionPatient"),
            ({"Modality": "CT"}, "Modality"),
        ],
    )
    def test_what_is_not_one_stack_is_refused(self, other: dict[str, Any], tag: str) -> None:
        with pytest.raises(BadSeries) as caught:
            order_series([slice_at(0), slice_at(3, **other)])
        assert str(caught.value.facts["tag"]).endswith(tag)
        assert caught.value.facts["input"] == 1

    def test_an_orientation_that_spans_no_plane(self) -> None:
        with pytest.raises(InputError) as caught:
            order_series([slice_at(0, ImageOrientationPatient=[1, 0, 0, 1, 0, 0])])
        assert "ImageOrientationPatient" in caught.value.facts["tag"]

    def test_no_instances(self) -> None:
        with pytest.raises(BadSeries):
            order_series([])
