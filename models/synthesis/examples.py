"""`python -m models.synthesis.examples --out examples/data`: the 24 example images, drawn by the shipped `chest-gan`.

Odd numbers are drawn as normal, even numbers as pneumonia: the first twelve of each class of seed 0, none left out.
The same weights give the same bytes: identifiers follow from the seed, and the date is a constant.
"""

from __future__ import annotations

import argparse
import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.filewriter import dcmwrite
from pydicom.uid import JPEGLSLossless

from imaging.writing import synthetic_capture
from jobs.predicting import ModelVersion
from models.catalogue import Catalogue
from models.synthesis.drawing import load
from models.synthesis.kind import KIND
from models.synthesis.runner import check_gate

SEED = 0
PER_CLASS = 12
SIDE = 224
"""Rows and columns of an example; the generator draws 28 x 28 and bicubic interpolation does the rest."""
CREATED = datetime(2026, 11, 24, tzinfo=UTC)
"""The day that the examples were made; no person's date."""


def shipped() -> ModelVersion:
    """The default generator; raises `UnknownModel` where it is not installed."""
    assert KIND.shipped is not None
    return Catalogue.read({KIND.shipped}).resolve(str(KIND.default_model))


def examples(version: ModelVersion, per_class: int = PER_CLASS) -> dict[str, bytes]:
    """Return DICOM files by name, in order: chest-01.dcm is class 0, chest-02.dcm class 1, and so on in turn.

    Raises `ExportRefused` where the version has not passed its gate.
    """
    check_gate(version)
    generator = load(version)
    classes = generator.classes
    drawn = [generator.series(per_class, label, SEED) for label in range(len(classes))]
    files = {}
    for number in range(1, per_class * len(classes) + 1):
        place, label = divmod(number - 1, len(classes))
        said = f"{version.name}, drawn as {classes[label]}"
        files[f"chest-{number:02d}.dcm"] = as_dicom(drawn[label][place], said, number)
    return files


def as_dicom(picture: NDArray[np.uint8], generator: str, number: int) -> bytes:
    """Return one picture, uint8 (28, 28), as a lossless JPEG-LS Secondary Capture of a virtual patient."""
    large = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    sizes = f"{picture.shape[0]} x {picture.shape[1]} pixels and enlarged to {SIDE} x {SIDE}"
    content = synthetic_capture(
        large, generator=generator, patient_id=f"SYNTHETIC-{number:02d}", modality="CR", created=CREATED,
        uid_entropy=["medjobs", "chest-gan", str(SEED), str(number)],
    )  # fmt: skip
    dataset = dcmread(io.BytesIO(content))
    dataset.BodyPartExamined = "CHEST"
    del dataset.Laterality  # the chest is no paired part (PS3.3 C.7.3.1)
    dataset.DerivationDescription += f" Drawn at {sizes} by bicubic interpolation."
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    # Named here, so that another version of pydicom does not change the bytes.
    dataset.file_meta.ImplementationVersionName = "MEDJOBS"
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def main(arguments: list[str] | None = None) -> None:
    """Write the files into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write, made where there is none")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    files = examples(shipped())
    for name, content in files.items():
        (chosen.out / name).write_bytes(content)
    print(f"wrote {len(files)} files, {sum(map(len, files.values()))} bytes, into {chosen.out}")


if __name__ == "__main__":
    torch.set_num_threads(1)  # the products are small: more threads only wait for each other
    main()
