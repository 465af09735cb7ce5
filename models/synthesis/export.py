"""Drawn pictures as the files that leave the system: npz, PNG or DICOM, each of which says that it is synthetic."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.filewriter import dcmwrite

from imaging.writing import synthetic_capture
from jobs.predicting import ModelVersion
from models.synthesis.sheet import png
from models.synthesis.wording import MARK

Images = NDArray[np.uint8]

EARLY = (1980, 1, 1, 0, 0, 0)
"""Time of every member of a zip, so that equal pictures give equal bytes: no earlier one can be written."""

NPZ, ZIP = "application/vnd.numpy.npz", "application/zip"


@dataclass(frozen=True)
class Origin:
    """Where pictures come from: the generator, its classes, the seed; and of what they are pictures."""

    name: str
    version: int
    weights_sha256: str
    classes: Sequence[str]
    seed: int
    modality: str
    body_part: str
    created: datetime

    @classmethod
    def of(cls, version: ModelVersion, seed: int) -> Origin:
        """Of a version; the date is that of its training, so that one seed gives the same files on any day."""
        manifest = version.manifest
        contract = manifest["contract"]
        made = manifest.get("created_at")
        created = datetime.fromisoformat(made) if made else datetime(2000, 1, 1, tzinfo=UTC)
        sha256 = str(manifest["weights"]["sha256"])
        said = (contract.get("modality") or "OT", contract.get("body_part") or "")
        return cls(version.name, version.version, sha256, tuple(manifest["classes"]), seed, *said, created)


def npz(images: Images, labels: Sequence[int], origin: Origin) -> bytes:
    """Return an npz: `images` (N, H, W) uint8, `labels` (N,) positions in `classes`, and `note`."""
    out = io.BytesIO()
    note = f"{MARK} {origin.name}@{origin.version}, seed {origin.seed}."
    arrays: dict[str, Any] = {"images": images, "labels": np.array(labels, dtype=np.int64)}
    arrays |= {"classes": np.array(origin.classes), "note": np.array(note)}
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def pngs(images: Images, labels: Sequence[int], places: Sequence[int], origin: Origin) -> bytes:
    """Return a zip of `<class>/<number>.png`."""
    files = ((f"{name}.png", png(Image.fromarray(image))) for name, image in _named(images, labels, places, origin))
    return zipped(files)


def dicoms(images: Images, labels: Sequence[int], places: Sequence[int], origin: Origin) -> bytes:
    """Return a zip of `<class>/<number>.dcm`, each a Secondary Capture of a virtual patient of its own."""
    named = _named(images, labels, places, origin)
    files = (
        (f"{name}.dcm", dicom(image, label, place, origin))
        for (name, image), label, place in zip(named, labels, places, strict=True)
    )
    return zipped(files)


def dicom(image: Images, label: int, place: int, origin: Origin, note: str = "") -> bytes:
    """Return one picture (H, W) as DICOM. Its identifiers follow from weights, seed, class and place."""
    content = synthetic_capture(
        image, generator=f"{origin.name}, drawn as {origin.classes[label]}",
        patient_id=f"SYNTHETIC-{origin.seed}-{label}-{place + 1:05d}", modality=origin.modality, created=origin.created,
        uid_entropy=["medjobs", origin.weights_sha256, str(origin.seed), str(label), str(place)],
    )  # fmt: skip
    if not origin.body_part and not note:
        return content
    dataset = dcmread(io.BytesIO(content))
    if origin.body_part:
        dataset.BodyPartExamined = origin.body_part
        if origin.body_part == "CHEST":
            del dataset.Laterality  # the chest is no paired part (PS3.3 C.7.3.1)
    dataset.DerivationDescription += note
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def zipped(files: Iterator[tuple[str, bytes]]) -> bytes:
    """Return a zip of the files as they are; equal files give equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("README.txt", EARLY), MARK + "\n")
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name, EARLY), content)
    return out.getvalue()


def _named(
    images: Images, labels: Sequence[int], places: Sequence[int], origin: Origin
) -> Iterator[tuple[str, Images]]:
    """Each picture with its path in a zip; a class's name, which anyone may have chosen, is no path."""
    for image, label, place in zip(images, labels, places, strict=True):
        folder = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in origin.classes[label])
        yield f"{label}-{folder}/{place + 1:05d}", image
