"""Pixels -> DICOM: Secondary Capture images (PS3.3 A.8.1, C.8.6), marked as what they are."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

SYNTHETIC = "SYNTHETIC"
_SHORT, _LONG = 64, 1024
"""Characters that LO and ST may have (PS3.5 section 6.2)."""


def secondary_capture(
    pixels: NDArray[np.uint8],
    *,
    series_description: str,
    derivation_description: str,
    patient_id: str,
    patient_name: str = "",
    modality: str = "OT",
    conversion_type: str = "SYN",
    series_instance_uid: str | None = None,
    study_instance_uid: str | None = None,
    instance_number: int = 1,
    pixel_spacing: tuple[float, float] | None = None,
    created: datetime | None = None,
    uid_entropy: list[str] | None = None,
) -> bytes:
    """A Secondary Capture Image of (H, W) greys or (H, W, 3) RGB, explicit VR little endian.

    ImageType is DERIVED\\SECONDARY. `series_description` and `derivation_description` say where the pixels come from;
    for virtual images see `synthetic_capture`. `pixel_spacing` is mm between rows, then columns. With `uid_entropy`
    and `created` the same call gives the same bytes.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ValueError("secondary_capture() takes (H, W) or (H, W, 3) uint8")
    moment = created or datetime.now(UTC)
    entropy = [*uid_entropy, str(instance_number)] if uid_entropy else None
    dataset = Dataset()
    _patient_and_study(dataset, patient_id, patient_name, moment)
    dataset.StudyInstanceUID = study_instance_uid or generate_uid(entropy_srcs=_with(uid_entropy, "study"))
    dataset.SeriesInstanceUID = series_instance_uid or generate_uid(entropy_srcs=_with(uid_entropy, "series"))
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=_with(entropy, "instance"))
    dataset.Modality = modality
    dataset.ConversionType = conversion_type
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = instance_number
    dataset.SeriesDescription = series_description[:_SHORT]
    dataset.DerivationDescription = derivation_description[:_LONG]
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    # Required empty where a body part could be paired and nothing is known (type 2C, PS3.3 C.7.3.1).
    dataset.PatientOrientation = dataset.Laterality = ""
    dataset.BurnedInAnnotation = "NO"
    if pixel_spacing is not None:
        dataset.PixelSpacing = [f"{side:.6g}" for side in pixel_spacing]
    _image_pixels(dataset, pixels)
    return _written(dataset)


def synthetic_capture(
    pixels: NDArray[np.uint8], *, generator: str, patient_id: str, modality: str = "OT", instance_number: int = 1,
    series_instance_uid: str | None = None, study_instance_uid: str | None = None,
    created: datetime | None = None, uid_entropy: list[str] | None = None,
) -> bytes:  # fmt: skip
    """A virtual image that says so in every place that a viewer shows: nobody may take it for a patient's."""
    return secondary_capture(
        pixels, series_description=f"{SYNTHETIC} {generator}", patient_id=patient_id,
        patient_name=f"{SYNTHETIC}^VIRTUAL",
        derivation_description=f"{SYNTHETIC} image drawn by a generative model ({generator}). No patient was imaged. "
        "Research use only, not a medical device.",
        modality=modality, instance_number=instance_number, series_instance_uid=series_instance_uid,
        study_instance_uid=study_instance_uid, created=created, uid_entropy=uid_entropy,
    )  # fmt: skip


def _with(entropy: list[str] | None, level: str) -> list[str] | None:
    return [*entropy, level] if entropy else None


def _patient_and_study(dataset: Dataset, patient_id: str, patient_name: str, moment: datetime) -> None:
    """The attributes that must be there, empty where nothing is known (type 2, PS3.3 C.7.1.1 and C.7.2.1)."""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = patient_name
    dataset.PatientID = patient_id[:_SHORT]
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyID = "1"
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyDate = dataset.ContentDate = moment.strftime("%Y%m%d")
    dataset.StudyTime = dataset.ContentTime = moment.strftime("%H%M%S")
    dataset.Manufacturer = "medjobs"


def _image_pixels(dataset: Dataset, pixels: NDArray[np.uint8]) -> None:
    colour = pixels.ndim == 3
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)


def _written(dataset: Dataset) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()
