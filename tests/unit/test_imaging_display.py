"""What is shown, by the formulas of PS3.3 C.11.2."""

from __future__ import annotations

import math

import numpy as np
import pytest

from imaging.reading import read_image
from tests.imaging_files import dicom, item

PIXELS = np.array([[0, 50, 100, 150, 200]], np.uint8)


def shown(**attributes: object) -> list[int]:
    return read_image(dicom(PIXELS, **attributes)).display()[0].tolist()


def test_linear_window() -> None:
    """C.11.2.1.2.1: y = ((x - (c - 0.5)) / (w - 1) + 0.5) x 255; at 100 that is (0.5 / 100 + 0.5) x 255 = 128.8."""
    assert shown(WindowCenter="100", WindowWidth="101") == [0, 1, 129, 255, 255]


def test_linear_exact_window() -> None:
    assert shown(WindowCenter="100", WindowWidth="200", VOILUTFunction="LINEAR_EXACT") == [0, 64, 128, 191, 255]


def test_sigmoid_window() -> None:
    expected = [round(255 / (1 + math.exp(-4 * (x - 100) / 100))) for x in (0, 50, 100, 150, 200)]
    assert shown(WindowCenter="100", WindowWidth="100", VOILUTFunction="SIGMOID") == expected


def test_a_width_of_one_is_a_threshold() -> None:
    assert shown(WindowCenter="100", WindowWidth="1") == [0, 0, 255, 255, 255]


def test_the_first_of_several_windows_counts() -> None:
    assert shown(WindowCenter=["100", "0"], WindowWidth=["1", "1"]) == [0, 0, 255, 255, 255]


def test_the_window_acts_on_rescaled_values() -> None:
    assert shown(WindowCenter="-900", WindowWidth="1", RescaleSlope="1", RescaleIntercept="-1000") == [
        0,
        0,
        255,
        255,
        255,
    ]


def test_a_voi_lut_goes_before_the_window() -> None:
    lut = item(LUTDescriptor=[3, 50, 8], LUTData=np.array([0, 51, 255], "<u2").tobytes())
    assert shown(VOILUTSequence=[lut], WindowCenter="1", WindowWidth="1") == [0, 0, 255, 255, 255]


def test_without_both_the_range_is_stretched() -> None:
    assert shown() == [0, 64, 128, 191, 255]


def test_a_flat_image_is_black_and_not_an_error() -> None:
    assert read_image(dicom(np.full((2, 2), 7, np.uint8))).display().tolist() == [[0, 0], [0, 0]]


def test_monochrome1_is_inverted_after_the_voi() -> None:
    """Inverting first would put the threshold at 255 - 40 and show [255, 255, 255, 255, 0]."""
    assert shown(PhotometricInterpretation="MONOCHROME1", WindowCenter="40", WindowWidth="1") == [255, 0, 0, 0, 0]


def test_modality_values_of_monochrome1_are_not_inverted() -> None:
    image = read_image(dicom(PIXELS, PhotometricInterpretation="MONOCHROME1"))
    assert image.frames[0, 0].tolist() == [0, 50, 100, 150, 200]


@pytest.mark.parametrize(
    ("attributes", "tag"),
    [
        ({"WindowCenter": "10", "WindowWidth": "0"}, "(0028,1051) WindowWidth"),
        ({"WindowCenter": "10", "WindowWidth": "-5"}, "(0028,1051) WindowWidth"),
        ({"WindowCenter": "nan", "WindowWidth": "5"}, "(0028,1050) WindowCenter"),
        ({"WindowCenter": "10", "WindowWidth": "inf"}, "(0028,1051) WindowWidth"),
    ],
)
def test_an_absurd_window_is_named_and_not_used(attributes: dict[str, str], tag: str) -> None:
    image = read_image(dicom(PIXELS, **attributes))
    assert image.display()[0].tolist() == [0, 64, 128, 191, 255]
    assert len(image.notes) == 1
    assert tag in image.notes[0]


def test_an_extreme_sigmoid_does_not_overflow() -> None:
    assert shown(WindowCenter="100", WindowWidth="1e-6", VOILUTFunction="SIGMOID") == [0, 0, 128, 255, 255]
