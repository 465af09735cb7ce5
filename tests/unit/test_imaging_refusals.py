"""Each refusal has a code, names its tag, repeats no value and comes before the memory is taken."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from imaging.limits import Limits
from imaging.reading import read_image
from jobs.errors import InputError
from tests.imaging_files import PACKAGED, data_set, deflated, dicom, item, nested, written


def refusal(source: bytes, limits: Limits | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        read_image(source, limits or Limits())
    return caught.value


@pytest.mark.parametrize(
    ("attributes", "code", "tag"),
    [
        ({"Rows": None}, "bad-attribute", "(0028,0010) Rows"),
        ({"Rows": 0}, "bad-attribute", "(0028,0010) Rows"),
        ({"Columns": 0}, "bad-attribute", "(0028,0011) Columns"),
        ({"Columns": 60_000}, "limit-exceeded", "(0028,0011) Columns"),
        ({"NumberOfFrames": "0"}, "bad-attribute", "(0028,0008) NumberOfFrames"),
        ({"NumberOfFrames": "-3"}, "bad-attribute", "(0028,0008) NumberOfFrames"),
        ({"NumberOfFrames": "100000"}, "limit-exceeded", "(0028,0008) NumberOfFrames"),
        ({"NumberOfFrames": "2"}, "truncated-input", "(7FE0,0010) PixelData"),
        ({"PixelData": None}, "no-pixel-data", "(7FE0,0010) PixelData"),
        ({"PixelData": b""}, "truncated-input", "(7FE0,0010) PixelData"),
        ({"SamplesPerPixel": 3}, "bad-attribute", "(0028,0002) SamplesPerPixel"),
        ({"BitsAllocated": 12}, "bad-attribute", "(0028,0100) BitsAllocated"),
        ({"BitsAllocated": None}, "bad-attribute", "(0028,0100) BitsAllocated"),
        ({"BitsStored": 9}, "bad-attribute", "(0028,0101) BitsStored"),
        ({"PixelRepresentation": 2}, "bad-attribute", "(0028,0103) PixelRepresentation"),
        ({"PixelRepresentation": None}, "bad-attribute", "(0028,0103) PixelRepresentation"),
        ({"PhotometricInterpretation": None}, "bad-attribute", "(0028,0004) PhotometricInterpretation"),
        ({"PhotometricInterpretation": "HSV"}, "bad-attribute", "(0028,0004) PhotometricInterpretation"),
        ({"RescaleSlope": "nan"}, "bad-attribute", "(0028,1053) RescaleSlope"),
        ({"RescaleSlope": "0"}, "bad-attribute", "(0028,1053) RescaleSlope"),
        ({"RescaleSlope": "1e300"}, "bad-attribute", "(0028,1053) RescaleSlope"),
        ({"RescaleIntercept": "inf"}, "bad-attribute", "(0028,1052) RescaleIntercept"),
    ],
)
def test_a_bad_attribute_is_named(attributes: dict[str, Any], code: str, tag: str) -> None:
    error = refusal(dicom(np.zeros((4, 4), np.uint8), **attributes))
    assert (error.code, error.facts["tag"]) == (code, tag)
    assert tag in error.detail or code == "no-pixel-data"


def test_a_name_where_a_number_should_be_is_not_repeated() -> None:
    source = dicom(RescaleIntercept="12345678").replace(b"12345678", b"DOE^JOHN")
    error = refusal(source)
    assert error.facts["tag"] == "(0028,1052) RescaleIntercept"
    assert "DOE" not in str(error.as_dict())


def test_nothing_is_not_an_image() -> None:
    assert refusal(b"").code == "empty-input"
    assert refusal(b"%PDF-1.7 Patient DOE^JOHN" * 20).code == "not-an-image"
    assert refusal(b"\0" * 4096).code == "not-an-image"


def test_a_report_has_no_pixels() -> None:
    assert refusal((PACKAGED / "test-SR.dcm").read_bytes()).code == "no-pixel-data"
    assert refusal((PACKAGED / "rtplan.dcm").read_bytes()).code == "no-pixel-data"


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "image_dfl.dcm"])
def test_a_truncated_file_is_refused(name: str, keep: float) -> None:
    whole = (PACKAGED / name).read_bytes()
    try:
        image = read_image(whole[: int(len(whole) * keep)])
    except InputError:
        return
    # CT_small ends with a long padding element: only cuts behind the pixels may pass, and then pixels are whole.
    assert keep > 0.9
    assert np.array_equal(image.frames, read_image(whole).frames)


class TestBombs:
    def test_a_forged_header_costs_no_memory(self) -> None:
        source = dicom(Rows=16_000, Columns=16_000, NumberOfFrames="9999")
        tracemalloc.start()
        error = refusal(source)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (error.code, error.facts["limit"]) == ("limit-exceeded", "max_samples")
        assert peak < 1 << 20

    def test_a_deflate_bomb_stops_at_the_limit(self) -> None:
        source = deflated(b"\0" * (64 << 20))
        assert len(source) < 100_000
        tracemalloc.start()
        error = refusal(source, Limits(max_inflated_bytes=1 << 20))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (error.code, error.facts["limit"]) == ("limit-exceeded", "max_inflated_bytes")
        assert peak < 8 << 20

    def test_an_rle_bomb_stops_at_the_frame(self) -> None:
        """Each two bytes of the segment ask for 128: 10 MB of them would be 640 MB."""
        segment = b"\x81\x07" * 5_000_000
        frame = struct.pack("<16L", 1, 64, *[0] * 14) + segment
        encapsulated = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0" + struct.pack("<L", len(frame)) + frame
        made = data_set(PixelData=encapsulated + b"\xfe\xff\xdd\xe0\0\0\0\0")
        made["PixelData"].is_undefined_length = True
        source = written(made, RLELossless)
        start = time.perf_counter()
        assert read_image(source).frames.max() == 7
        assert time.perf_counter() - start < 1

    def test_a_compressed_frame_may_not_claim_another_size(self) -> None:
        """The decoder would allocate 65,535 x 65,535 although Rows and Columns are small."""
        source = bytearray((PACKAGED / "JPEG2000.dcm").read_bytes())
        at = source.find(b"\xff\x4f\xff\x51")
        source[at + 8 : at + 16] = struct.pack(">II", 65_535, 65_535)
        error = refusal(bytes(source))
        assert (error.code, error.facts["tag"]) == ("decode-failed", "(0028,0010) Rows")

    def test_a_jp2_box_of_no_length_does_not_hang(self) -> None:
        """pydicom 3.0 walks such boxes forever; found by shaking files, and caught before it is asked."""
        source = (PACKAGED / "GDCMJ2K_TextGBR.dcm").read_bytes()
        assert read_image(source).frames.ndim == 4
        at = source.find(b"jp2h") - 4
        broken = source[:at] + b"\0\0\0\0" + source[at + 4 :]
        assert refusal(broken).code == "decode-failed"

    def test_a_png_bomb_is_refused_by_its_header(self) -> None:
        out = io.BytesIO()
        Pillow.new("L", (9000, 9000)).save(out, "PNG")
        tracemalloc.start()
        error = refusal(out.getvalue())
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()
        assert error.facts["limit"] == "max_png_pixels"

    def test_a_large_file_is_not_read(self) -> None:
        assert refusal(dicom(), Limits(max_bytes=100)).facts["limit"] == "max_bytes"


class TestNesting:
    @pytest.mark.parametrize("defined", [False, True])
    @pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian])
    def test_32_levels_pass_and_33_do_not(self, defined: bool, syntax: str) -> None:
        assert read_image(written(nested(32, defined=defined), syntax)).frames.shape == (1, 4, 4)
        # Implicit VR of defined length is parsed only on demand, and nobody demands it.
        if not (defined and syntax == ImplicitVRLittleEndian):
            assert refusal(written(nested(33, defined=defined), syntax)).facts["limit"] == "max_depth"

    def test_ten_thousand_levels_do_not_crash(self) -> None:
        plain = dicom()
        start = plain.find(struct.pack("<HH", 0x0028, 0x0002))
        level = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        assert refusal(plain[:start] + level * 10_000 + plain[start:]).facts["limit"] == "max_depth"

    def test_too_many_elements(self) -> None:
        made = data_set(OtherPatientIDsSequence=[item(PatientID="x") for _ in range(50)])
        assert refusal(written(made), Limits(max_elements=60)).facts["limit"] == "max_elements"


def test_an_unknown_transfer_syntax_lists_the_known_ones() -> None:
    made = data_set(PixelData=b"\xfe\xff\x00\xe0\0\0\0\0")
    made["PixelData"].is_undefined_length = True
    error = refusal(written(made, "1.2.840.10008.1.2.4.100"))
    assert error.code == "unsupported-transfer-syntax"
    assert RLELossless in error.facts["accepted"]


def test_pixels_that_are_not_numbers() -> None:
    pixels = np.array([[1, np.nan]], "<f4")
    made = data_set(pixels, PixelData=None, FloatPixelData=pixels.tobytes())
    assert refusal(written(made)).facts["tag"] == "(7FE0,0008) FloatPixelData"


def test_an_endless_segmented_palette() -> None:
    words = np.array([0, 1, 0] + [1, 65535, 9] * 4000, "<u2").tobytes()
    attributes: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for channel in ("Red", "Green", "Blue"):
        attributes[f"{channel}PaletteColorLookupTableDescriptor"] = [3, 0, 16]
        attributes[f"Segmented{channel}PaletteColorLookupTableData"] = words
    assert refusal(dicom(**attributes)).code == "bad-attribute"


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_answered(data: bytes) -> None:
    for source in (data, b"\0" * 128 + b"DICM" + data, b"\x89PNG\r\n\x1a\n" + data, b"\x08\x00\x05\x00" + data):
        with pytest.raises(InputError):
            read_image(source)


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_flipped_bits_give_pixels_or_a_coded_error(seed: int, count: int) -> None:
    """Native files only: the compressed ones are shaken in a process of their own (tests/integration)."""
    random = np.random.default_rng(seed)
    source = bytearray(
        dicom(np.arange(64, dtype=np.uint16).reshape(8, 8), RescaleSlope="2", WindowCenter="30", WindowWidth="9")
    )
    for at in random.integers(0, len(source), count):
        source[at] ^= 1 << int(random.integers(0, 8))
    try:
        image = read_image(bytes(source))
    except InputError:
        return
    assert image.display().dtype == np.uint8


def test_corrupt_png_data() -> None:
    out = io.BytesIO()
    Pillow.fromarray(np.zeros((50, 50), np.uint8)).save(out, "PNG")
    whole = out.getvalue()
    assert refusal(whole[:60]).code == "decode-failed"
    assert refusal(whole[:20]).code == "truncated-input"
    empty = zlib.compress(b"")
    chunk = struct.pack(">I", len(empty)) + b"IDAT" + empty + struct.pack(">I", zlib.crc32(b"IDAT" + empty))
    assert refusal(whole[:33] + chunk + whole[-12:]).code == "decode-failed"
