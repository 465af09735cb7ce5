"""Small DICOM files made by hand for the tests of imaging: every value is the test's own."""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

PACKAGED = Path(pydicom.__file__).parent / "data" / "test_files"
"""pydicom's own test files. (Its get_testdata_files() would go to the network for the others.)"""

UID_ROOT = "1.2.826.0.1.3680043.10.1"
DEFLATED = "1.2.840.10008.1.2.1.99"


def item(**attributes: Any) -> Dataset:
    """A sequence item."""
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def data_set(pixels: NDArray[Any] | None = None, **attributes: Any) -> Dataset:
    """A Secondary Capture of `pixels`, (H, W) or (N, H, W) grey or (H, W, 3) RGB; None removes an attribute."""
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4) if pixels is None else pixels
    colour = pixels.shape[-1] == 3 and pixels.ndim >= 3
    stated: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7",
        "SOPInstanceUID": UID_ROOT + ".1",
        "SeriesInstanceUID": UID_ROOT + ".2",
        "StudyInstanceUID": UID_ROOT + ".3",
        "Modality": "OT",
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "Rows": pixels.shape[-3 if colour else -2],
        "Columns": pixels.shape[-2 if colour else -1],
        "BitsAllocated": pixels.dtype.itemsize * 8,
        "BitsStored": pixels.dtype.itemsize * 8,
        "HighBit": pixels.dtype.itemsize * 8 - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes() + b"\0" * (pixels.nbytes % 2),
    }
    if colour:
        stated["PlanarConfiguration"] = 0
    if pixels.ndim == 3 and not colour:
        stated["NumberOfFrames"] = len(pixels)
    made = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in {**stated, **attributes}.items():
            if value is not None:
                setattr(made, keyword, value)
    if "PixelData" in made:
        made["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    return made


def written(made: Dataset, syntax: str = ExplicitVRLittleEndian, *, preamble: bool = True) -> bytes:
    """The bytes of a data set in a native or encapsulated transfer syntax."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.get("SOPClassUID", "1.2.3")
    made.file_meta.MediaStorageSOPInstanceUID = made.get("SOPInstanceUID", "1.2.3")
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if preamble:
            dcmwrite(out, made, enforce_file_format=True)
        else:
            del made.file_meta
            implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
            dcmwrite(out, made, implicit_vr=implicit, little_endian=little)
    return out.getvalue()


def dicom(pixels: NDArray[Any] | None = None, **attributes: Any) -> bytes:
    """`data_set` as explicit VR little endian."""
    return written(data_set(pixels, **attributes))


def deflated(plain: bytes) -> bytes:
    """A file whose data set is the raw-deflated `plain`, however large or false that is."""
    head = written(item(SOPClassUID="1.2.3", SOPInstanceUID="1.2.3"), DEFLATED)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    length = int.from_bytes(head[140:144], "little")
    return head[: 144 + length] + packer.compress(plain) + packer.flush()


def nested(depth: int, *, defined: bool = False) -> Dataset:
    """A picture whose ContentSequence holds itself `depth` levels deep."""
    inner = item(Modality="OT")
    for _ in range(depth):
        inner = item(ContentSequence=[inner])
        inner["ContentSequence"].is_undefined_length = not defined
    made = data_set()
    made.ContentSequence = inner.ContentSequence
    made["ContentSequence"].is_undefined_length = not defined
    return made
