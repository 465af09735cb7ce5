"""Virtual images in the training part of a data set: what `augment_with` of a training does before its trainer begins.

Validation and test part stay real. Only a generator that has passed its gate is drawn from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import InputError
from jobs.predicting import ModelVersion
from models.data.canonical import TRAIN, ImageSet
from models.diagnosis.pixels import network_input
from models.synthesis.drawing import Generator, load
from models.synthesis.runner import check_gate

KEYS = np.uint64(1 << 63)
"""Key of the first virtual image; the others count on. A key of a real image is a hash, and none is so round."""


def mixed(data: ImageSet, version: ModelVersion, ratio: float, seed: int) -> ImageSet:
    """Return the set with `ratio` virtual images for each real one of the training part, in each class alike.

    Raises `ExportRefused`, and `InputError` where the generator lacks a class of the set.
    """
    check_gate(version)
    generator = load(version)
    labels = _wanted(data.labels[data.split == TRAIN], ratio)
    known = [_position(generator, name) for name in data.classes]
    places = np.concatenate([np.arange((labels == label).sum()) for label in range(len(data.classes))]).astype(int)
    images = generator.draw([known[label] for label in labels], places.tolist(), seed)
    return joined(data, _sized(images, data), labels)


def joined(data: ImageSet, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> ImageSet:
    """Return the set with further training images (N, H, W) of classes (N,), each of a patient who is none."""
    count = len(labels)
    codes = {name: np.concatenate([of, np.full(count, -1)]) for name, of in data.groups.items()}
    keys = KEYS + np.arange(count, dtype=np.uint64)
    patients = data.patient.max(initial=0) + 1 + np.arange(count)
    return replace(
        data,
        images=np.concatenate([data.images, images]),
        labels=np.concatenate([data.labels, labels]),
        split=np.concatenate([data.split, np.full(count, TRAIN, dtype=np.uint8)]),
        key=np.concatenate([data.key, keys]),
        patient=np.concatenate([data.patient, patients]),
        groups=codes,
    )


def real(data: ImageSet, virtual: Mapping[str, Any] | None) -> ImageSet:
    """Return the set without the virtual images that `described` tells of."""
    if virtual is None:
        return data
    return data.take((data.key < KEYS) | (data.key >= KEYS + np.uint64(virtual["images"])))


def described(version: ModelVersion, ratio: float, count: int) -> dict[str, Any]:
    """What a manifest says of the virtual images."""
    return {"name": version.name, "version": version.version, "ratio": ratio, "images": count}


def _wanted(labels: NDArray[np.int64], ratio: float) -> NDArray[np.int64]:
    """The classes of the virtual images, class after class."""
    counts = np.floor(np.bincount(labels) * ratio + 0.5).astype(int)
    return np.repeat(np.arange(len(counts)), counts).astype(np.int64)


def _position(generator: Generator, name: str) -> int:
    if name not in generator.classes:
        known = ", ".join(generator.classes)
        raise InputError(f"The generator of augment_with does not draw each class of the data set; it draws: {known}.")
    return generator.classes.index(name)


def _sized(images: NDArray[np.uint8], data: ImageSet) -> NDArray[np.uint8]:
    """In the size of the set's images, resized as the diagnosis kind does."""
    rows, columns = data.images.shape[1:]
    if images.shape[1:] == (rows, columns):
        return images
    contract = {"input": {"rows": rows, "columns": columns}, "fit": "whole"}
    return np.stack([network_input(one, contract) for one in images])
