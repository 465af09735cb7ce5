"""MedMNIST v2 files (Yang et al., Scientific Data 2023): one npz with a published train/val/test split.

Arrays are `{train,val,test}_images`, uint8 (N, H, W), and `{train,val,test}_labels`, (N, 1) in the published files and
(N,) in some copies; both are read. A part may be missing: weights can be made from a copy without its test part.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
"""Greyscale images, (N, H, W), 0 to 255."""
Labels = NDArray[np.int64]
"""Class indices, (N,)."""


@dataclass(frozen=True)
class Part:
    """One part of a split: `images` (N, H, W) uint8 and `labels` (N,) class indices."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Part:
        """Return the rows of `index` (positions or a mask) as a part of their own."""
        return Part(self.images[index], self.labels[index])


@dataclass(frozen=True)
class DataSet:
    """A data set with its published split; `fingerprint` is the same for the same arrays in any container."""

    name: str
    train: Part
    validation: Part
    test: Part | None
    fingerprint: str


def fingerprint(part: Part) -> str:
    """Return the sha256 (hex) over shape, pixels and labels, whatever order the rows stand in.

    Rows are hashed one by one and the sorted row hashes once more, because copies of one set differ in row order.
    """
    rows = sorted(
        hashlib.sha256(image.tobytes() + int(label).to_bytes(2, "little")).digest()
        for image, label in zip(part.images, part.labels, strict=True)
    )
    return hashlib.sha256(repr(part.images.shape).encode() + b"".join(rows)).hexdigest()


def read(path: Path) -> DataSet:
    """Read a greyscale MedMNIST npz. Raises ValueError that names what is wrong with the file."""
    arrays = _arrays(path)
    parts = {name: _part(arrays, name, path.name) for name in ("train", "val", "test")}
    train, validation = parts["train"], parts["val"]
    if train is None or validation is None:
        raise ValueError(f"{path.name} needs train_images, train_labels, val_images and val_labels")
    mark = hashlib.sha256("".join(fingerprint(part) for part in (train, validation)).encode()).hexdigest()
    return DataSet(path.stem, train, validation, parts["test"], mark)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz file by name; pickled objects are refused."""
    try:
        # Opened here, because np.load leaves a file that is no zip open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array and not an archive of them")
            return {name: archive[name] for name in archive.files}
    except (OSError, zipfile.BadZipFile, EOFError, ValueError) as cause:
        raise ValueError(f"{path.name} cannot be read as an npz file: {cause}") from cause


def _part(arrays: dict[str, NDArray[Any]], name: str, file: str) -> Part | None:
    """Return one part of the split, or None where the file does not have it."""
    if f"{name}_images" not in arrays or f"{name}_labels" not in arrays:
        return None
    images, labels = arrays[f"{name}_images"], arrays[f"{name}_labels"]
    if images.dtype != np.uint8 or images.ndim != 3:
        raise ValueError(f"{file}: {name}_images is {images.dtype} {images.shape}; this reader takes uint8 (N, H, W)")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{file}: {name}_labels is {labels.dtype} {labels.shape}, not {len(images)} class indices")
    return Part(images, labels.astype(np.int64))


def shared_with(part: Part, other: Part) -> NDArray[np.bool_]:
    """Return a mask over `part`, (N,): True where the very same image stands in `other` as well."""
    seen = {image.tobytes() for image in other.images}
    return np.array([image.tobytes() in seen for image in part.images], dtype=bool)
