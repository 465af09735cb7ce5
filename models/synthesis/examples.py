"""`python -m models.synthesis.examples --out examples/data`: the 24 example images, drawn by the shipped generator.

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
from models.synthesis.generator import LABELS, ChestGenerator, load

SEED = 0
PER_CLASS = 12
SIDE = 224
"""Rows and columns of an example; the generator draws 28 x 28 and bicubic interpolation does the rest."""
CREATED = datetime(2026, 11, 23, tzinfo=UTC)
"""The day that the examples were first made; no person's date."""


def examples(generator: ChestGenerator, per_class: int = PER_CLASS) -> dict[str, bytes]:
    """Return DICOM files by name, in order: chest-01.dcm is class 0, chest-02.dcm class 1, and so on in turn."""
    drawn = [generator.generate(per_class, label, SEED) for label in range(len(LABELS))]
    files = {}
    for number in range(1, per_class * len(LABELS) + 1):
        place, label = divmod(number - 1, len(LABELS))
        files[f"chest-{number:02d}.dcm"] = as_dicom(drawn[label][place], label, number)
    return files


def as_dicom(picture: NDArray[np.uint8], label: int, number: int) -> bytes:
    """Return one picture, uint8 (28, 28), as a lossless JPEG-LS Secondary Capture of a virtual patient."""
    large = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    sizes = f"{picture.shape[0]} x {picture.shape[1]} pixels and enlarged to {SIDE} x {SIDE}"
    content = synthetic_capture(
        large, generator=f"chest-flow, drawn as {LABELS[label]}", patient_id=f"SYNTHETIC-{number:02d}", modality="CR",
        created=CREATED, uid_entropy=["medjobs", "chest-flow", str(SEED), str(number)],
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
    files = examples(load())
    for name, content in files.items():
        (chosen.out / name).write_bytes(content)
    print(f"wrote {len(files)} files, {sum(map(len, files.values()))} bytes, into {chosen.out}")


if __name__ == "__main__":
    torch.set_num_threads(1)  # the products are small: more threads only wait for each other
    main()
