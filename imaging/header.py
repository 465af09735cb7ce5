"""What an image says about itself, read without touching its pixels."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from imaging import parsing
from imaging.attributes import bad, integer, required, tag_name, text, texts
from imaging.functional import FunctionalGroups
from imaging.geometry import Geometry, geometry
from imaging.limits import DEFAULT_LIMITS, Limits
from imaging.terms import COLOUR, PHOTOMETRIC
from jobs.errors import BadAttribute, BrokenHeader, InputError, LimitExceeded, NoPixelData, TruncatedInput

_HEAD = 1 << 20
_CODE_STRING = re.compile(r"[A-Z0-9_ ]*")


@dataclass(frozen=True)
class Header:
    """The attributes that decide what an image is; keywords as in DICOM, in lower case."""

    format: str
    """"DICOM" or "PNG"."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uid: str
    modality: str
    photometric_interpretation: str
    rows: int
    columns: int
    number_of_frames: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    pixel_representation: int
    transfer_syntax_uid: str
    body_part_examined: str
    image_laterality: str
    view_position: str
    patient_orientation: str
    burned_in_annotation: str
    lossy_image_compression: str
    instance_number: int | None
    geometry: Geometry
    """Of the first frame."""

    @property
    def pixel_spacing(self) -> tuple[float, float] | None:
        """mm between rows, then columns, from PixelSpacing else ImagerPixelSpacing."""
        return self.geometry.pixel_spacing

    @property
    def image_orientation_patient(self) -> tuple[float, ...] | None:
        """Six direction cosines of the first frame."""
        return self.geometry.image_orientation_patient

    @property
    def image_position_patient(self) -> tuple[float, float, float] | None:
        """x, y, z in mm of the first frame."""
        return self.geometry.image_position_patient


def read_header(source: Path | bytes, limits: Limits = DEFAULT_LIMITS) -> Header:
    """The header of a DICOM or PNG image; refuses what `read_image` would refuse by the header alone."""
    if isinstance(source, Path) and source.stat().st_size > _HEAD:
        found = _from_head(source, limits)
        if found is not None:
            return found
    data = parsing.load(source, limits)
    if parsing.is_png(data):
        return png_header(data, limits)
    return describe(parsing.parse(data, limits, pixels=False), limits)


def _from_head(path: Path, limits: Limits) -> Header | None:
    """The header from the first bytes of a long file, or None where the pixels do not begin inside them."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    try:
        parsed = parsing.parse(head, limits, pixels=False)
    except InputError:
        return None
    return describe(parsed, limits) if parsed.pixel_keyword else None


def describe(parsed: parsing.Parsed, limits: Limits) -> Header:
    """Check the Image Pixel module (PS3.3 C.7.6.3) of a parsed object and describe it."""
    if not parsed.pixel_keyword:
        raise NoPixelData(tag=tag_name("PixelData"))
    header = _header(parsed)
    check(header, limits)
    return header


def _header(parsed: parsing.Parsed) -> Header:
    dataset = parsed.dataset
    frames = integer(dataset, "NumberOfFrames")
    allocated = required(dataset, "BitsAllocated")
    whole_numbers = parsed.pixel_keyword == "PixelData"
    return Header(
        format="DICOM",
        sop_class_uid=_uid(dataset, "SOPClassUID"),
        sop_instance_uid=_uid(dataset, "SOPInstanceUID"),
        series_instance_uid=_uid(dataset, "SeriesInstanceUID"),
        study_instance_uid=_uid(dataset, "StudyInstanceUID"),
        frame_of_reference_uid=_uid(dataset, "FrameOfReferenceUID"),
        modality=_code(dataset, "Modality"),
        photometric_interpretation=_photometric(dataset),
        rows=required(dataset, "Rows"),
        columns=required(dataset, "Columns"),
        number_of_frames=1 if frames is None else frames,
        samples_per_pixel=required(dataset, "SamplesPerPixel"),
        bits_allocated=allocated,
        bits_stored=required(dataset, "BitsStored") if whole_numbers else allocated,
        pixel_representation=required(dataset, "PixelRepresentation") if whole_numbers else 1,
        transfer_syntax_uid=str(parsing.transfer_syntax(dataset)),
        body_part_examined=_code(dataset, "BodyPartExamined"),
        image_laterality=_code(dataset, "ImageLaterality") or _code(dataset, "Laterality"),
        view_position=_code(dataset, "ViewPosition"),
        patient_orientation="\\".join(texts(dataset, "PatientOrientation"))[:40],
        burned_in_annotation=_code(dataset, "BurnedInAnnotation"),
        lossy_image_compression=_code(dataset, "LossyImageCompression"),
        instance_number=_instance_number(dataset),
        geometry=geometry(FunctionalGroups(dataset), 0),
    )


def _uid(dataset: Dataset, keyword: str) -> str:
    """A UID that is one (PS3.5 section 9.1), or an empty string: anything else could be a patient's name."""
    value = text(dataset, keyword)
    return value if len(value) <= 64 and value.replace(".", "").isdigit() and value.isascii() else ""


def _code(dataset: Dataset, keyword: str) -> str:
    """A code string that is one (PS3.5 section 6.2, CS), or an empty string."""
    value = text(dataset, keyword)
    return value if len(value) <= 16 and _CODE_STRING.fullmatch(value) else ""


def _instance_number(dataset: Dataset) -> int | None:
    try:
        return integer(dataset, "InstanceNumber")
    except BadAttribute:
        return None


def _photometric(dataset: Dataset) -> str:
    value = text(dataset, "PhotometricInterpretation").upper()
    if not value:
        raise bad("PhotometricInterpretation", "is missing or empty, and the pixels cannot be read without it")
    if value not in PHOTOMETRIC:
        raise bad("PhotometricInterpretation", "is not one that can be drawn", accepted=list(PHOTOMETRIC))
    return value


def png_header(data: bytes, limits: Limits) -> Header:
    """The header of a PNG (ISO/IEC 15948, 11.2.2 IHDR); where DICOM has an attribute that PNG lacks it is empty."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise TruncatedInput("The PNG ends inside its header.")
    columns, rows, depth, colour_type = struct.unpack_from(">IIBB", data, 16)
    if rows < 1 or columns < 1:
        raise BrokenHeader("The PNG header (IHDR) states a width or height of 0.")
    if max(rows, columns) > limits.max_side or rows * columns > limits.max_png_pixels:
        raise LimitExceeded("The PNG is wider, higher or larger than accepted.", limit="max_png_pixels",
                            allowed=limits.max_png_pixels)  # fmt: skip
    colour = colour_type in (2, 3, 6)
    nothing = Geometry(None, "", None, None)
    return Header(
        format="PNG", sop_class_uid="", sop_instance_uid="", series_instance_uid="", study_instance_uid="",
        frame_of_reference_uid="", modality="", photometric_interpretation="RGB" if colour else "MONOCHROME2",
        rows=rows, columns=columns, number_of_frames=1, samples_per_pixel=3 if colour else 1,
        bits_allocated=16 if depth == 16 else 8, bits_stored=8 if colour_type == 3 else depth, pixel_representation=0,
        transfer_syntax_uid="", body_part_examined="", image_laterality="", view_position="", patient_orientation="",
        burned_in_annotation="", lossy_image_compression="", instance_number=None, geometry=nothing,
    )  # fmt: skip


def check(header: Header, limits: Limits) -> None:
    """Hold the numbers of a header against the standard and the limits, before anything is allocated."""
    _check_format(header)
    for keyword, value, limit in (
        ("Rows", header.rows, "max_side"),
        ("Columns", header.columns, "max_side"),
        ("NumberOfFrames", header.number_of_frames, "max_frames"),
    ):
        if value < 1:
            raise bad(keyword, "must be at least 1")
        allowed, tag = getattr(limits, limit), tag_name(keyword)
        if value > allowed:
            raise LimitExceeded(f"{tag} is over the limit.", tag=tag, limit=limit, allowed=allowed)
    samples = header.rows * header.columns * header.number_of_frames * header.samples_per_pixel
    if samples > limits.max_samples:
        raise LimitExceeded(
            f"Rows x Columns x NumberOfFrames x SamplesPerPixel is over the limit; {tag_name('NumberOfFrames')}.",
            tag=tag_name("NumberOfFrames"), limit="max_samples", allowed=limits.max_samples,
        )  # fmt: skip


def _check_format(header: Header) -> None:
    if header.bits_allocated not in (1, 8, 16, 32, 64):
        raise bad("BitsAllocated", "is not 1, 8, 16, 32 or 64")
    if not 1 <= header.bits_stored <= header.bits_allocated:
        raise bad("BitsStored", "is not between 1 and BitsAllocated")
    if header.pixel_representation not in (0, 1):
        raise bad("PixelRepresentation", "is not 0 or 1")
    wanted = 3 if header.photometric_interpretation in COLOUR else 1
    if header.samples_per_pixel != wanted:
        raise bad("SamplesPerPixel", f"does not fit PhotometricInterpretation, which needs {wanted}")
