"""What the network reads of a frame, and where its boxes lie on it; every number here can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.reading import read_image
from imaging.writing import secondary_capture
from models.diagnosis.pixels import Area, area, boxes, displayed, network_input, placed, spread, stored_box
from tests.diagnosis_model import CONTRACT, image

WHOLE = {**CONTRACT, "fit": "whole"}


def captured(pixels: np.ndarray) -> bytes:
    return secondary_capture(pixels, series_description="t", derivation_description="t", patient_id="T", modality="CR")


def test_the_centre_square_of_a_wide_and_of_a_tall_frame() -> None:
    assert area(100, 140, "centre-square") == Area(20, 0, 100, 100)
    assert area(141, 100, "centre-square") == Area(0, 20, 100, 100)
    assert area(100, 140, "whole") == Area(0, 0, 140, 100)


def test_given_an_image_of_the_models_size_then_not_one_pixel_changes() -> None:
    pixels = image(1)
    assert np.array_equal(network_input(displayed(read_image(captured(pixels)), 0), CONTRACT), pixels)


def test_given_a_wide_frame_then_only_its_centre_square_is_seen() -> None:
    wide = np.zeros((56, 112), np.uint8)
    wide[:, :28] = wide[:, 84:] = 255
    assert network_input(wide, CONTRACT).max() == 0
    assert network_input(wide, WHOLE).max() == 255


def test_a_frame_shrunk_tenfold_keeps_its_mean_because_areas_are_averaged() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (280, 280)).astype(np.uint8)
    assert network_input(noise, CONTRACT).mean() == pytest.approx(noise.mean(), abs=0.5)
    assert network_input(noise, CONTRACT).std() < noise.std() / 5


def test_colour_is_read_by_its_luma() -> None:
    red = np.zeros((28, 28, 3), np.uint8)
    red[..., 0] = 255
    # The part has the right size but three channels: it is still turned to grey. 0.299 x 255 = 76.
    assert set(np.unique(network_input(red, CONTRACT))) == {76}


def test_eight_bits_without_a_window_are_shown_over_their_full_range_not_stretched() -> None:
    dim = np.full((28, 28), 100, np.uint8)
    dim[0, 0] = 90
    shown = displayed(read_image(captured(dim)), 0)
    assert (shown[0, 0], shown[5, 5]) == (90, 100)


def test_monochrome1_is_inverted() -> None:
    made = captured(np.full((28, 28), 30, np.uint8)).replace(b"MONOCHROME2 ", b"MONOCHROME1 ")
    assert displayed(read_image(made), 0)[3, 3] == 225


def test_a_box_of_the_input_lies_where_it_was_seen_in_the_stored_pixels() -> None:
    # 100 rows x 156 columns: the square starts at column 28; 100 / 28 stored pixels to one of the input.
    assert stored_box((14, 0, 14, 28), CONTRACT, 100, 156) == (78, 0, 50, 100)
    assert stored_box((14, 0, 14, 28), WHOLE, 100, 156) == (78, 0, 78, 100)


def test_boxes_are_around_the_high_places_strongest_first() -> None:
    heat = np.zeros((28, 28), np.float32)
    heat[2:5, 3:8] = 0.7
    heat[20:22, 10:11] = 1.0
    assert boxes(heat) == [((10, 20, 1, 2), 1.0), ((3, 2, 5, 3), 0.7)]
    assert boxes(np.zeros((28, 28), np.float32)) == []


def test_a_map_is_cut_at_zero_and_reaches_one_and_a_map_that_speaks_against_is_empty() -> None:
    raw = np.full((7, 7), -1.0, np.float32)
    assert not spread(raw, 28, 28).any()
    raw[3, 3] = 5.0
    heat = spread(raw, 28, 28)
    assert (heat.min(), heat.max()) == (0.0, 1.0)
    assert np.unravel_index(heat.argmax(), heat.shape)[0] in range(12, 16)


def test_nothing_is_marked_outside_the_part_that_the_network_saw() -> None:
    whole = placed(np.ones((28, 28), np.float32), 100, 200, "centre-square")
    assert whole.shape == (100, 200)
    assert whole[:, 50:150].min() == 1.0
    assert not whole[:, :50].any()
    assert not whole[:, 150:].any()
