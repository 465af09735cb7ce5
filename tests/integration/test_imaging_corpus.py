"""Real and malformed DICOM from outside: equal to pydicom's reference decoding, or a named refusal."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

from imaging.reading import Image, read_image
from jobs.errors import InputError, codes
from tests.imaging_files import PACKAGED

ROOT = Path(os.environ.get("MEDJOBS_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "dicom"
SECONDS = 10.0
"""For one file. The slowest real one here takes under 1 s on two cores."""

STRICTER = {
    "TC0263_depth_50.dcm": "limit-exceeded",
    "TC0265_depth_100.dcm": "limit-exceeded",
    "TC0329_rgb_spp1.dcm": "bad-attribute",  # RGB of one sample
    "TC0337_mf_nf_zero.dcm": "bad-attribute",  # 0 frames
}
"""What pydicom decodes and this package refuses on purpose."""


BETTER_REFERENCE = {"OBXXXX1A_expb_2frame.dcm": "OBXXXX1A_2frame.dcm"}
"""pydicom reads the palette of a big-endian file as little endian; the same image in little endian stands in."""


def files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    if not found:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no DICOM test data below {ROOT.name}/")
    return found


def reference(path: Path) -> tuple[pydicom.Dataset, NDArray[Any]] | None:
    try:
        dataset = pydicom.dcmread(path, force=True)
        return dataset, dataset.pixel_array
    except Exception:
        return None


def expected(dataset: pydicom.Dataset, stored: NDArray[Any]) -> NDArray[Any]:
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        coloured = apply_color_lut(stored, dataset)
        top = coloured.max()
        return coloured if coloured.dtype == np.uint8 or top <= 255 else np.rint(coloured / 257.0)
    if dataset.SamplesPerPixel == 3:
        return stored if stored.dtype == np.uint8 else np.rint(stored * (255.0 / (2.0**dataset.BitsStored - 1)))
    return np.asarray(apply_modality_lut(stored, dataset), np.float64)


def same(image: Image, dataset: pydicom.Dataset, stored: NDArray[Any]) -> bool:
    wanted = expected(dataset, stored)
    # pydicom takes surplus pixels of an uncompressed file for further frames; NumberOfFrames decides here.
    wanted = wanted.reshape(-1)[: image.frames.size].reshape(image.frames.shape)
    if image.geometries[1:]:  # enhanced: pydicom's modality LUT does not look into functional groups
        wanted = by_functional_groups(dataset, stored)
    slack = 1 if image.is_colour and dataset.get("BitsAllocated") != 8 else 0
    return bool(np.allclose(image.frames, wanted, rtol=1e-6, atol=slack))


def by_functional_groups(dataset: pydicom.Dataset, stored: NDArray[Any]) -> NDArray[Any]:
    frames = []
    for frame, groups in zip(stored, dataset.PerFrameFunctionalGroupsSequence, strict=False):
        found: Any = None
        for holder in (groups, *dataset.get("SharedFunctionalGroupsSequence", [])):
            if found is None and "PixelValueTransformationSequence" in holder:
                found = holder.PixelValueTransformationSequence[0]
        frames.append(frame if found is None else frame * float(found.RescaleSlope) + float(found.RescaleIntercept))
    return np.stack(frames)


def check(paths: list[Path], stricter: dict[str, str]) -> tuple[int, int]:
    """(decoded, refused); fails with every file that was neither equal nor refused by name."""
    wrong, decoded, refused = [], 0, 0
    for path in paths:
        start = time.perf_counter()
        image = error = None
        try:
            image = read_image(path)
            image.display(image.header.number_of_frames - 1)
        except InputError as caught:
            error = caught
        if time.perf_counter() - start > SECONDS:
            wrong.append(f"{path.name}: slow")
        found = reference(path.with_name(BETTER_REFERENCE.get(path.name, path.name)))
        if error is not None:
            refused += 1
            if error.code not in codes() or not error.detail:
                wrong.append(f"{path.name}: no code")
            if found is not None and stricter.get(path.name) != error.code:
                wrong.append(f"{path.name}: {error.code}, and pydicom decodes it")
            continue
        decoded += 1
        if image is not None and found is not None and not same(image, *found):
            wrong.append(f"{path.name}: other pixels than pydicom's")
    assert wrong == []
    return decoded, refused


def test_pydicoms_own_files_are_equal_or_refused() -> None:
    """The files in pydicom's wheel, which every machine has."""
    decoded, refused = check(sorted(PACKAGED.glob("*.dcm")), STRICTER)
    assert decoded >= 55
    assert refused <= 20


def test_every_real_file_is_equal_or_refused() -> None:
    decoded, refused = check(files("pydicom", "pydicom-data", "pynetdicom"), STRICTER)
    assert decoded >= 145
    assert refused >= 80


def test_every_malformed_file_is_answered() -> None:
    decoded, refused = check(files("fuzz"), STRICTER)
    assert decoded + refused >= 230
    assert refused >= 40


def test_a_real_chest_radiograph() -> None:
    """RG1_J2KI: CR, 1955 x 1841, MONOCHROME1, JPEG 2000; its border is unexposed, so it must be shown black."""
    (path,) = [path for path in files("pydicom-data") if path.name == "RG1_J2KI.dcm"]
    image = read_image(path)
    assert (image.header.photometric_interpretation, image.header.modality) == ("MONOCHROME1", "CR")
    assert image.frames.shape == (1, 1955, 1841)
    shown = image.display().astype(float)
    plain = image.frames[0]
    # After inversion bright means few counts: the two must run against each other.
    assert np.corrcoef(shown[::20, ::20].ravel(), plain[::20, ::20].ravel())[0, 1] < -0.9
