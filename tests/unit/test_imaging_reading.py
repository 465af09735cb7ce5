"""Bytes to modality values, by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from imaging.reading import read_image
from tests.imaging_files import PACKAGED, data_set, dicom, item, written

RAMP = np.array([[0, 100], [200, 4000]], np.uint16)


def greys(source: bytes) -> list[float]:
    return read_image(source).frames.ravel().tolist()


class TestModality:
    def test_rescale_is_applied(self) -> None:
        assert greys(dicom(RAMP, RescaleSlope="2", RescaleIntercept="-10.5")) == [-10.5, 189.5, 389.5, 7989.5]

    def test_without_rescale_stored_values_stand(self) -> None:
        image = read_image(dicom(RAMP))
        assert image.frames.dtype == np.float32
        assert image.frames.shape == (1, 2, 2)
        assert greys(dicom(RAMP)) == [0, 100, 200, 4000]

    def test_a_large_value_keeps_its_small_steps(self) -> None:
        pixels = np.array([[16_777_216, 16_777_217]], np.uint32)
        assert greys(dicom(pixels, RescaleSlope="1", RescaleIntercept="-16777216")) == [0, 1]

    def test_a_modality_lut_holds_its_ends(self) -> None:
        lut = item(LUTDescriptor=[3, 100, 16], LUTData=np.array([7, 8, 9], "<u2").tobytes(), ModalityLUTType="US")
        assert greys(dicom(np.array([[0, 100], [101, 300]], np.uint16), ModalityLUTSequence=[lut])) == [7, 7, 8, 9]

    def test_signed_pixels_and_a_signed_first_value(self) -> None:
        pixels = np.array([[-5, -4], [-3, 2]], np.int16)
        lut = item(LUTData=np.array([1, 2, 3], "<u2").tobytes(), ModalityLUTType="US")
        lut.add_new("LUTDescriptor", "SS", [3, -5, 16])
        assert greys(dicom(pixels)) == [-5, -4, -3, 2]
        assert greys(dicom(pixels, ModalityLUTSequence=[lut])) == [1, 2, 3, 3]


class TestBits:
    def test_bits_above_bits_stored_are_dropped(self) -> None:
        """An old file keeps an overlay in bit 15; 0x8FFF is 4095 of 12 bits."""
        assert greys(dicom(np.array([[0x8FFF, 0x0001]], np.uint16), BitsStored=12, HighBit=11)) == [4095, 1]

    def test_the_sign_of_12_bits_is_extended(self) -> None:
        pixels = np.array([[0x0FFF, 0x0800, 0x07FF]], np.int16)
        assert greys(dicom(pixels, BitsStored=12, HighBit=11)) == [-1, -2048, 2047]

    @pytest.mark.parametrize("bits", [5, 10, 13])
    def test_odd_depths(self, bits: int) -> None:
        top = 2**bits - 1
        assert greys(dicom(np.array([[0, 1, top]], np.uint16), BitsStored=bits, HighBit=bits - 1)) == [0, 1, top]

    def test_single_bits_are_unpacked_from_the_lowest(self) -> None:
        made = data_set(
            np.zeros((2, 4), np.uint8), BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=bytes([0b10010110, 0])
        )
        assert greys(written(made)) == [0, 1, 1, 0, 1, 0, 0, 1]

    def test_32_bit_pixels(self) -> None:
        assert greys(dicom(np.array([[2**31, 5]], np.uint32))) == [2.0**31, 5]

    @pytest.mark.parametrize(("keyword", "kind"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
    def test_float_pixels(self, keyword: str, kind: str) -> None:
        pixels = np.array([[0.5, -2.25]], kind)
        made = data_set(pixels, PixelData=None, BitsStored=None, HighBit=None, PixelRepresentation=None)
        setattr(made, keyword, pixels.tobytes())
        assert greys(written(made)) == [0.5, -2.25]


class TestEncodings:
    PIXELS = np.array([[0, 1, 2], [300, 40000, 65535]], np.uint16)

    @pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
    def test_native_syntaxes_agree(self, syntax: str) -> None:
        assert greys(written(data_set(self.PIXELS), syntax)) == self.PIXELS.ravel().tolist()

    def test_big_endian(self) -> None:
        made = data_set(self.PIXELS, PixelData=self.PIXELS.astype(">u2").tobytes())
        assert greys(written(made, ExplicitVRBigEndian)) == self.PIXELS.ravel().tolist()

    @pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, "1.2.840.10008.1.2.1"])
    def test_without_preamble_and_meta(self, syntax: str) -> None:
        source = written(data_set(self.PIXELS), syntax, preamble=False)
        assert source[:2] == b"\x08\x00"
        assert greys(source) == self.PIXELS.ravel().tolist()

    def test_frames_keep_their_order(self) -> None:
        pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
        image = read_image(dicom(pixels))
        assert image.header.number_of_frames == 2
        assert np.array_equal(image.frames, pixels)

    def test_more_data_than_frames_is_left_alone(self) -> None:
        assert read_image(dicom(np.ones((5, 2, 2), np.uint8), NumberOfFrames=1)).frames.shape == (1, 2, 2)


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
        ("liver_expb_1frame.dcm", "liver_1frame.dcm"),
        ("rtdose_rle.dcm", "rtdose.dcm"),
    ],
)
def test_a_lossless_copy_equals_its_original(name: str, original: str) -> None:
    """Another program compressed the same image: the pixels must be the same, whoever decodes them."""
    assert np.array_equal(read_image(PACKAGED / name).frames, read_image(PACKAGED / original).frames)


def test_12_bit_jpeg_decodes() -> None:
    """Values of JPGExtended from an independent decoder (libjpeg of Thomas Richter, through pylibjpeg-libjpeg 2.x)."""
    frames = read_image(PACKAGED / "JPGExtended.dcm").frames
    expected = [244, 242, 249, 260, 218, 219, 221, 223, 220, 210]
    assert np.abs(frames[0, 420, 140:150] - expected).max() <= 1
    assert frames.shape == (1, 1024, 256)
    assert frames.max() == 264
    assert abs(frames.mean() - 14.383) < 0.02


class TestColour:
    def test_rgb_by_pixel_and_by_plane(self) -> None:
        pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        planes = np.moveaxis(pixels, -1, 0).tobytes()
        assert np.array_equal(read_image(dicom(pixels)).frames[0], pixels)
        assert np.array_equal(read_image(dicom(pixels, PlanarConfiguration=1, PixelData=planes)).frames[0], pixels)

    def test_16_bit_rgb_is_scaled(self) -> None:
        pixels = np.array([[[0, 32768, 65535]]], np.uint16)
        assert read_image(dicom(pixels)).frames.ravel().tolist() == [0, 128, 255]

    def test_ybr_full(self) -> None:
        """Y 76, Cb 85, Cr 255 is pure red (PS3.3 C.7.6.3.1.2): R = 76 + 1.402 x 127 = 254."""
        pixels = np.array([[[76, 85, 255], [128, 128, 128]]], np.uint8)
        red, grey = read_image(dicom(pixels, PhotometricInterpretation="YBR_FULL")).frames[0, 0].tolist()
        assert red == [254, 0, 0]
        assert grey == [128, 128, 128]

    def test_ybr_full_422_shares_chroma_between_two_pixels(self) -> None:
        pixels = np.zeros((1, 2, 3), np.uint8)
        made = data_set(pixels, PhotometricInterpretation="YBR_FULL_422", PixelData=bytes([76, 128, 85, 255]))
        red, second = read_image(written(made)).frames[0, 0].tolist()
        assert red == [254, 0, 0]
        assert second[0] == 255

    def test_ybr_partial_runs_from_16_to_235(self) -> None:
        pixels = np.zeros((1, 2, 3), np.uint8)
        made = data_set(pixels, PhotometricInterpretation="YBR_PARTIAL_422", PixelData=bytes([16, 235, 128, 128]))
        assert read_image(written(made)).frames[0, 0].tolist() == [[0, 0, 0], [255, 255, 255]]

    @staticmethod
    def palette(data: dict[str, bytes], bits: int, prefix: str = "") -> dict[str, object]:
        made: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
        for channel, entries in data.items():
            made[f"{channel}PaletteColorLookupTableDescriptor"] = [3, 10, bits]
            made[f"{prefix}{channel}PaletteColorLookupTableData"] = entries
        return made

    def test_palette_of_16_bits_clamps_at_its_ends(self) -> None:
        words = {c: np.array([0, 257 * k, 65535], "<u2").tobytes() for c, k in (("Red", 1), ("Green", 2), ("Blue", 3))}
        pixels = np.array([[0, 10, 11, 12, 200]], np.uint8)
        rgb = read_image(dicom(pixels, **self.palette(words, 16))).frames[0, 0].tolist()
        assert rgb == [[0, 0, 0], [0, 0, 0], [1, 2, 3], [255, 255, 255], [255, 255, 255]]

    def test_palette_of_bytes(self) -> None:
        data = {c: bytes([5, 6, 7, 0]) for c in ("Red", "Green", "Blue")}
        assert read_image(dicom(np.array([[10, 12]], np.uint8), **self.palette(data, 8))).frames[
            0, 0, :, 0
        ].tolist() == [5, 7]

    def test_segmented_palette(self) -> None:
        """Discrete [0], then a straight line of 2 to 65534 = 0x7FFF and 0xFFFE."""
        words = {c: np.array([0, 1, 0, 1, 2, 65534], "<u2").tobytes() for c in ("Red", "Green", "Blue")}
        made = self.palette(words, 16, "Segmented")
        assert read_image(dicom(np.array([[10, 11, 12]], np.uint8), **made)).frames[0, 0, :, 1].tolist() == [
            0,
            127,
            255,
        ]


class TestEnhanced:
    def test_each_frame_has_its_own_rescale_window_and_place(self) -> None:
        pixels = np.full((2, 2, 2), 10, np.uint16)
        groups = [
            item(
                PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept="0", RescaleType="US")],
                FrameVOILUTSequence=[item(WindowCenter=center, WindowWidth="1")],
                PlanePositionSequence=[item(ImagePositionPatient=[0, 0, place])],
            )
            for slope, center, place in (("1", "5", 0), ("3", "50", 7.5))
        ]
        shared = item(
            PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.25])],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        )
        made = data_set(pixels, PerFrameFunctionalGroupsSequence=groups, SharedFunctionalGroupsSequence=[shared])
        image = read_image(written(made))
        assert image.frames[:, 0, 0].tolist() == [10, 30]
        assert image.display(0).max() == 255  # 10 lies above 5
        assert image.display(1).max() == 0  # 30 lies below 50
        assert image.geometry(1).image_position_patient == (0, 0, 7.5)
        assert image.geometry(1).pixel_spacing == (0.5, 0.25)
        assert image.geometry(1).normal() == (0, 0, 1)


class TestPng:
    @staticmethod
    def png(pixels: np.ndarray, mode: str | None = None) -> bytes:
        out = io.BytesIO()
        picture = Pillow.fromarray(pixels)
        (picture.convert(mode) if mode else picture).save(out, "PNG")
        return out.getvalue()

    def test_grey_of_8_and_16_bits(self) -> None:
        eight = read_image(self.png(np.array([[0, 255]], np.uint8)))
        sixteen = read_image(self.png(np.array([[0, 65535]], np.uint16)))
        assert eight.header.format == "PNG"
        assert eight.frames.tolist() == [[[0, 255]]]
        assert sixteen.frames.tolist() == [[[0, 65535]]]
        assert eight.display().tolist() == sixteen.display().tolist() == [[0, 255]]

    def test_an_8_bit_png_is_shown_as_it_is(self) -> None:
        ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
        assert np.array_equal(read_image(self.png(ramp)).display(), ramp)

    @pytest.mark.parametrize("mode", ["P", "RGBA", None])
    def test_colour_becomes_rgb(self, mode: str | None) -> None:
        pixels = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
        image = read_image(self.png(pixels, mode))
        assert image.frames.tolist() == [pixels.tolist()]
        assert image.display().shape == (1, 2, 3)
