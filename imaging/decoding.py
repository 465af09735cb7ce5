"""Pixel Data -> stored values, by transfer syntax (PS3.5 section 8 and Annex A)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder

from imaging import codestream, jpegturbo, rle
from imaging.attributes import array, required, tag_name
from imaging.header import Header
from imaging.parsing import Parsed
from jobs.errors import DecodeFailed, InputError, LimitExceeded, TruncatedInput, UnsupportedTransferSyntax

NATIVE_LITTLE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")
NATIVE_BIG = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
_JPEG = "1.2.840.10008.1.2.4."
JPEG_EXTENDED = _JPEG + "51"
LOSSLESS_JPEG = (_JPEG + "57", _JPEG + "70")
PLUGINS = {
    _JPEG + "50": "pillow",
    _JPEG + "51": "pillow",
    _JPEG + "80": "pyjpegls",
    _JPEG + "81": "pyjpegls",
    _JPEG + "90": "pylibjpeg",
    _JPEG + "91": "pylibjpeg",
    _JPEG + "201": "pylibjpeg",
    _JPEG + "202": "pylibjpeg",
    _JPEG + "203": "pylibjpeg",
}
"""Transfer syntax -> the decoder that pydicom is told to use; "pylibjpeg" means its OpenJPEG half (MIT)."""
_PROCESSES: dict[str, tuple[tuple[int, ...], range]] = {
    _JPEG + "50": ((0xC0,), range(8, 9)),
    _JPEG + "51": ((0xC0, 0xC1), range(8, 13, 4)),
    _JPEG + "57": ((0xC3,), range(2, 17)),
    _JPEG + "70": ((0xC3,), range(2, 17)),
    _JPEG + "80": ((0xF7,), range(2, 17)),
    _JPEG + "81": ((0xF7,), range(2, 17)),
}
"""Transfer syntax -> the JPEG processes (SOFn) and sample precisions that it may hold (PS3.5 8.2.1 and 8.2.3)."""
_SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422")

Pixels = NDArray[Any]


def decode(parsed: Parsed, header: Header) -> tuple[Pixels, str]:
    """Stored values, (N, H, W) or (N, H, W, 3), and the photometric interpretation that they have after decoding."""
    syntax = header.transfer_syntax_uid
    whole = header.bits_allocated >= 8 and header.photometric_interpretation not in _SUBSAMPLED
    if syntax in NATIVE_LITTLE and whole:
        return _native(parsed, header), header.photometric_interpretation
    if syntax in NATIVE_LITTLE or syntax == NATIVE_BIG:
        return _by_pydicom(parsed, header, "")
    if syntax == RLE:
        return _rle(parsed.dataset, header), header.photometric_interpretation
    if syntax in LOSSLESS_JPEG or (syntax == JPEG_EXTENDED and header.bits_stored > 8):
        return _jpeg(parsed.dataset, header), header.photometric_interpretation
    if syntax not in PLUGINS:
        raise UnsupportedTransferSyntax(tag="(0002,0010) TransferSyntaxUID", accepted=supported())
    return _by_pydicom(parsed, header, PLUGINS[syntax])


def supported() -> list[str]:
    """Every transfer syntax UID that is decoded."""
    return [*NATIVE_LITTLE, NATIVE_BIG, RLE, *LOSSLESS_JPEG, *PLUGINS]


def _stored_type(header: Header, keyword: str) -> np.dtype[Any]:
    kind = "f" if keyword != "PixelData" else "i" if header.pixel_representation else "u"
    return np.dtype(f"<{kind}{header.bits_allocated // 8}")


def _shape(header: Header) -> tuple[int, ...]:
    shape = (header.number_of_frames, header.rows, header.columns)
    return shape if header.samples_per_pixel == 1 else (*shape, header.samples_per_pixel)


def _native(parsed: Parsed, header: Header) -> Pixels:
    """Uncompressed little endian, as most files are: one view on the bytes, without pydicom's general path."""
    dtype = _stored_type(header, parsed.pixel_keyword)
    data = parsed.dataset.get_item(parsed.pixel_tag).value
    shape = _shape(header)
    count = int(np.prod(shape))
    if not isinstance(data, bytes) or len(data) < count * dtype.itemsize:
        raise _short(parsed.pixel_keyword)
    stored = np.frombuffer(data, dtype, count)
    if header.samples_per_pixel > 1 and required(parsed.dataset, "PlanarConfiguration") == 1:
        by_plane = (shape[0], shape[3], shape[1], shape[2])
        stored = np.moveaxis(stored.reshape(by_plane), 1, -1)
    stored = stored.reshape(shape)
    return stored if dtype.kind == "f" else unused_bits_cleared(stored, header)


def unused_bits_cleared(stored: Pixels, header: Header) -> Pixels:
    """Bits above BitsStored may hold overlays (PS3.5 8.1.1): drop them and extend the sign."""
    unused = stored.dtype.itemsize * 8 - header.bits_stored
    if unused <= 0:
        return stored
    return (stored << unused) >> unused


def _short(keyword: str) -> TruncatedInput:
    return TruncatedInput(
        f"{tag_name(keyword)} is shorter than Rows x Columns x NumberOfFrames x SamplesPerPixel need.",
        tag=tag_name(keyword),
    )


def _frames(dataset: FileDataset, header: Header) -> Iterator[bytes]:
    """The compressed frames, exactly as many as the header promises."""
    value = dataset.get_item(0x7FE00010).value
    offsets, lengths = (array(dataset, key) for key in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"))
    extended = None if offsets is None or lengths is None else (offsets.tobytes(), lengths.tobytes())
    made = generate_frames(value, number_of_frames=header.number_of_frames, extended_offsets=extended)
    for _ in range(header.number_of_frames):
        frame = next(made, None)
        if frame is None:
            raise _short("PixelData")
        yield frame


def _rle(dataset: FileDataset, header: Header) -> Pixels:
    if header.bits_allocated % 8:
        raise DecodeFailed("RLE Lossless needs whole bytes.", tag=tag_name("BitsAllocated"))
    pixels, wide = header.rows * header.columns, header.bits_allocated // 8
    dtype = _stored_type(header, "PixelData")
    shape = _shape(header)
    stored = np.empty(shape, dtype)
    with _Coded():
        for index, frame in enumerate(_frames(dataset, header)):
            plain = rle.decode_frame(frame, pixels, header.samples_per_pixel, wide)
            stored[index] = plain.view(dtype).reshape(shape[1:])
    return unused_bits_cleared(stored, header)


def _jpeg(dataset: FileDataset, header: Header) -> Pixels:
    """JPEG that only libjpeg-turbo decodes safely: lossless, and Extended of 12 bits."""
    shape = _shape(header)
    stored = np.empty(shape, _stored_type(header, "PixelData"))
    with _Coded():
        _check_claims(dataset, header)
        for index, frame in enumerate(_frames(dataset, header)):
            # Unsigned numbers that fill a signed type wrap around, which is how DICOM stores signed lossless JPEG.
            stored[index] = jpegturbo.decode_frame(frame, shape[1:]).astype(stored.dtype)
    return unused_bits_cleared(stored, header)


def _by_pydicom(parsed: Parsed, header: Header, plugin: str) -> tuple[Pixels, str]:
    with _Coded():
        if plugin:
            _check_claims(parsed.dataset, header)
        partial = header.photometric_interpretation == "YBR_PARTIAL_422"
        # More frames than the header promised were not checked against any limit, so they are not decoded.
        options: dict[str, Any] = {"allow_excess_frames": False}
        if partial:
            options["photometric_interpretation"] = "YBR_FULL_422"
        stored, properties = get_decoder(header.transfer_syntax_uid).as_array(
            parsed.dataset, raw=partial, decoding_plugin=plugin, **options
        )
    after = str(properties["photometric_interpretation"])
    return stored.reshape(_shape(header)), "YBR_PARTIAL_422" if partial else after


def _check_claims(dataset: FileDataset, header: Header) -> None:
    """A decoder allocates and dispatches by the frame's own header: it must agree with the checked attributes."""
    syntax = header.transfer_syntax_uid
    jpeg = syntax in _PROCESSES
    for frame in _frames(dataset, header):
        claim = codestream.jpeg_claim(frame) if jpeg else codestream.jpeg2000_claim(frame)
        if claim is None:
            raise DecodeFailed("A compressed frame has no readable header.", tag=tag_name("PixelData"))
        if (claim.rows, claim.columns, claim.components) != (header.rows, header.columns, header.samples_per_pixel):
            text = "A compressed frame has another size than Rows, Columns and SamplesPerPixel say."
            raise DecodeFailed(text, tag=tag_name("Rows"))
        if claim.precision > header.bits_allocated or (jpeg and not _fits(claim, *_PROCESSES[syntax])):
            text = "A compressed frame has a process or precision that its transfer syntax or BitsAllocated excludes."
            raise DecodeFailed(text, tag=tag_name("BitsAllocated"))


def _fits(claim: codestream.Claim, processes: tuple[int, ...], precisions: range) -> bool:
    """Decoders choose their code by process and precision, so strange ones never reach them."""
    return claim.process in processes and claim.precision in precisions


class _Coded:
    """Turns whatever a decoder raises into a coded error; its own text may hold values and is dropped."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, InputError) or not isinstance(error, Exception):
            return
        if isinstance(error, MemoryError):
            raise LimitExceeded("The pixels need more memory than there is.", limit="memory") from None
        raise DecodeFailed(tag=tag_name("PixelData")) from None
