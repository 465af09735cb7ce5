"""MedMNIST v2 files (Yang et al., Scientific Data 2023): one npz with a published train/val/test split.

Arrays are `{train,val,test}_images`, uint8 (N, H, W) or (N, H, W, 3), and `{train,val,test}_labels`, (N, 1) in the
published files and (N,) in some copies; both are read. Colour becomes grey (ITU-R BT.601 luma).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from models.data import splitting
from models.data.canonical import PARTS, ImageSet
from models.data.options import MedmnistOptions
from models.data.problems import Notes, refuse

NAMES = ("train", "val", "test")
MOST_BYTES = 8 << 30
"""All arrays of a file together, unpacked; the largest published set (224 px) has 4.5 GB in one part."""


def read(files: Sequence[Path], options: MedmnistOptions, notes: Notes | None = None) -> ImageSet:
    """Read one npz. Raises `DatasetInvalid` that names the array and what is wrong with it."""
    notes = notes or Notes()
    if len(files) != 1:
        raise refuse("The format medmnist takes one npz file.")
    arrays = _arrays(files[0])
    parts = [_part(arrays, name) for name in NAMES]
    if parts[0] is None or parts[1] is None:
        raise refuse("The npz needs train_images, train_labels, val_images and val_labels.", file=0)
    present = [part for part in parts if part is not None]
    if len({images.shape[1:] for images, _ in present}) != 1:
        raise refuse("The parts hold images of different sizes.", file=0)
    images = np.concatenate([images for images, _ in present])
    labels = np.concatenate([labels for _, labels in present])
    sizes = [0 if part is None else len(part[1]) for part in parts]
    split = np.repeat(np.arange(len(PARTS), dtype=np.uint8), sizes)
    keys = splitting.unique_keys([image.tobytes() for image in images], split, labels)
    return ImageSet(
        split=split,
        key=keys,
        images=images,
        labels=labels,
        patient=splitting.codes(keys),
        classes=_classes(labels, options),
        positive=options.positive,
        fit=options.fit,
        modalities=options.modalities,
    )


def _classes(labels: NDArray[np.int64], options: MedmnistOptions) -> tuple[str, ...]:
    most = int(labels.max(initial=0))
    classes = options.classes or tuple(str(number) for number in range(most + 1))
    if len(classes) <= most:
        raise refuse(f"The labels go up to {most}, and options.classes names only {len(classes)} classes.", file=0)
    if options.positive is not None and options.positive not in classes:
        raise refuse("options.positive is none of the classes.", file=0)
    return classes


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz by name; pickled objects are refused, and what would not fit is not unpacked."""
    wanted = {f"{name}_{what}.npy" for name in NAMES for what in ("images", "labels")}
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if info.filename in wanted]
            if sum(info.file_size for info in infos) > MOST_BYTES:
                raise refuse(f"The arrays take more than {MOST_BYTES >> 30} GiB.", file=0)
            found = {}
            for info in infos:
                with archive.open(info) as member:
                    found[info.filename.removesuffix(".npy")] = _array(member, info.file_size)
            return found
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError):
        raise refuse("The file is not a readable npz of plain arrays (pickled objects are not read).", file=0) from None


def _array(member: IO[bytes], size: int) -> NDArray[Any]:
    """One array. What its header promises is held against the member's size before anything is allocated."""
    version = np.lib.format.read_magic(member)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if header is None:
        raise ValueError("an npy version that NumPy writes only for fields with odd names")
    shape, fortran, dtype = header(member)
    count = 1
    for side in shape:
        count *= side
    if dtype.hasobject or count * dtype.itemsize > size:
        raise ValueError("objects, or less data than the header says")
    flat = np.frombuffer(member.read(), dtype=dtype, count=count)
    return flat.reshape(shape, order="F" if fortran else "C")


def _part(arrays: dict[str, NDArray[Any]], name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    """Images (N, H, W) and labels (N,) of one part, or None where the file does not have it."""
    if f"{name}_images" not in arrays or f"{name}_labels" not in arrays:
        return None
    images, labels = arrays[f"{name}_images"], arrays[f"{name}_labels"]
    colour = images.ndim == 4 and images.shape[3] == 3
    if images.dtype != np.uint8 or not (images.ndim == 3 or colour) or 0 in images.shape[1:]:
        detail = f"{name}_images is {images.dtype} {images.shape}; it must be uint8 (N, H, W) or (N, H, W, 3)."
        raise refuse(detail, file=0, column=f"{name}_images")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        detail = f"{name}_labels is {labels.dtype} {labels.shape}; it must be one class index for each image."
        raise refuse(detail, file=0, column=f"{name}_labels")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < 1000:
        raise refuse(f"{name}_labels holds indices below 0 or above 999.", file=0, column=f"{name}_labels")
    return (_grey(images) if colour else np.ascontiguousarray(images)), labels.astype(np.int64)


def _grey(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, H, W, 3) RGB to (N, H, W) by ITU-R BT.601 luma, rounded; image by image, to need little memory."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    grey = np.empty(images.shape[:3], dtype=np.uint8)
    for number, image in enumerate(images):
        grey[number] = np.rint(image.astype(np.float32) @ weights)
    return grey
