"""Bytes or a path -> a parsed data set, under the limits; nothing is decoded here."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from imaging import quiet
from imaging.limits import Limits
from jobs.errors import BrokenHeader, EmptyInput, InputError, LimitExceeded, NotAnImage, TruncatedInput

quiet.silence_pydicom()

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEFLATED = str(DeflatedExplicitVRLittleEndian).encode()
Stop = Callable[[BaseTag, str | None, int], bool] | None
_LONG_LENGTH = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
PIXEL_TAGS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}


def load(source: Path | bytes, limits: Limits) -> bytes:
    """The bytes of `source`, once its size is known to be in order."""
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size == 0:
        raise EmptyInput
    if size > limits.max_bytes:
        raise LimitExceeded(
            "The file is larger than this installation accepts.", limit="max_bytes", allowed=limits.max_bytes
        )
    return source if isinstance(source, bytes) else source.read_bytes()


def is_png(data: bytes) -> bool:
    """Whether the content begins as a PNG does; names and suffixes are not looked at."""
    return data.startswith(PNG_SIGNATURE)


@dataclass(frozen=True)
class Parsed:
    """A parsed object and where its pixels are."""

    dataset: FileDataset
    pixel_keyword: str
    """"PixelData", "FloatPixelData", "DoubleFloatPixelData", or empty where the object has no pixels."""

    @property
    def pixel_tag(self) -> int:
        """The tag of `pixel_keyword`."""
        return next(tag for tag, keyword in PIXEL_TAGS.items() if keyword == self.pixel_keyword)


class _StopAtPixels:
    """Ends a parse before the pixels and remembers which kind they were."""

    def __init__(self) -> None:
        self.keyword = ""

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        self.keyword = PIXEL_TAGS.get(tag, "")
        return bool(self.keyword)


def parse(data: bytes, limits: Limits, *, pixels: bool = True) -> Parsed:
    """Parse DICOM, with or without preamble and file meta information; `pixels=False` stops before the pixels."""
    if not (data[128:132] == b"DICM" or _looks_like_dicom(data)):
        raise NotAnImage
    stop = None if pixels else _StopAtPixels()
    try:
        dataset = _read(data, limits, stop)
        check_nesting(dataset, limits)
    except InputError:
        raise
    except RecursionError:
        raise _too_deep(limits) from None
    except (EOFError, struct.error):
        raise TruncatedInput("The file ends inside a DICOM data element.") from None
    except MemoryError:
        raise LimitExceeded("A data element claims more memory than there is.", limit="memory") from None
    except Exception:
        # pydicom raises many types, whose texts hold values; none of them is repeated.
        raise BrokenHeader from None
    present = next((keyword for tag, keyword in PIXEL_TAGS.items() if tag in dataset), "")
    return Parsed(dataset, stop.keyword if stop else present)


def _looks_like_dicom(data: bytes) -> bool:
    """Without a preamble, a data set must begin with an element of group 0002 or 0008, in either byte order."""
    return data[:4] in {
        struct.pack(order + "HH", group, element)
        for order in "<>"
        for group, elements in ((0x0002, (0, 1, 2, 3, 0x10)), (0x0008, (0, 1, 5, 6, 8, 0x12, 0x13, 0x14, 0x16, 0x18)))
        for element in elements
    }


def _read(data: bytes, limits: Limits, stop: Stop) -> FileDataset:
    if _DEFLATED in data:
        meta_end, syntax = file_meta(data)
        if syntax == _DEFLATED:
            return _read_deflated(data, meta_end, limits, stop)
    return read_partial(io.BytesIO(data), stop, force=True)


def file_meta(data: bytes) -> tuple[int, bytes]:
    """Where the file meta information (PS3.10 section 7.1) ends, and the transfer syntax that it names."""
    at = 132 if data[128:132] == b"DICM" else 0
    syntax = b""
    while data[at : at + 2] == b"\x02\x00":
        tag, vr = data[at : at + 4], data[at + 4 : at + 6]
        if vr in _LONG_LENGTH:
            start, length = at + 12, struct.unpack_from("<L", data, at + 8)[0]
        else:
            start, length = at + 8, struct.unpack_from("<H", data, at + 6)[0]
        at = start + length
        if tag == b"\x02\x00\x10\x00":
            syntax = data[start:at].strip(b" \0")
    return at, syntax


def _read_deflated(data: bytes, meta_end: int, limits: Limits, stop: Stop) -> FileDataset:
    """pydicom inflates without a bound, so the data set is inflated here and handed over as what it then is."""
    head = read_partial(io.BytesIO(data[:meta_end]), force=True)
    body: BinaryIO = io.BytesIO(inflate(memoryview(data)[meta_end:], limits.max_inflated_bytes))
    dataset = read_dataset(body, False, True, stop_when=stop)
    whole = FileDataset(body, dataset, head.preamble, head.file_meta, False, True)
    whole.set_original_encoding(False, True, dataset._character_set)
    return whole


def inflate(packed: bytes | memoryview, most: int) -> bytes:
    """Raw deflate (RFC 1951), refused beyond `most` bytes before they are allocated."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = stream.decompress(packed, most)
    except zlib.error:
        raise BrokenHeader("The deflated data set (PS3.5 A.5) cannot be inflated.") from None
    if not stream.eof and (stream.unconsumed_tail or len(plain) >= most):
        raise LimitExceeded("The data set inflates beyond the limit.", limit="max_inflated_bytes", allowed=most)
    if not stream.eof:
        raise TruncatedInput("The deflated data set (PS3.5 A.5) ends early.")
    return plain


def check_nesting(dataset: Dataset, limits: Limits) -> None:
    """Refuse sequences that are nested too deeply or hold too many elements; nothing here recurses."""
    waiting: list[tuple[Dataset, int]] = [(dataset, 0)]
    elements = 0
    while waiting:
        current, depth = waiting.pop()
        if depth > limits.max_depth:
            raise _too_deep(limits)
        elements += len(current)
        if elements > limits.max_elements:
            raise LimitExceeded(
                "The header holds too many elements.", limit="max_elements", allowed=limits.max_elements
            )
        for element in list(current.values()):
            if element.VR == "SQ":
                waiting.extend((item, depth + 1) for item in _items(current, element.tag))


def _items(dataset: Dataset, tag: BaseTag) -> list[Dataset]:
    try:
        return list(dataset[tag].value or ())
    except RecursionError:
        raise
    except Exception:
        # A broken sequence matters only to those who need its content, and they refuse it by its tag.
        return []


def _too_deep(limits: Limits) -> LimitExceeded:
    return LimitExceeded("Sequences are nested too deeply.", limit="max_depth", allowed=limits.max_depth)


def transfer_syntax(dataset: FileDataset) -> UID:
    """TransferSyntaxUID, or where it is missing the native syntax that the data set was found to be written in."""
    stated = dataset.file_meta.get("TransferSyntaxUID") if dataset.file_meta is not None else None
    if stated:
        return UID(str(stated))
    implicit, little = dataset.original_encoding
    return UID("1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2")
