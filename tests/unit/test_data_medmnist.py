"""The MedMNIST reader: both shapes of labels, a missing part, refusals that say what is wrong, duplicates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.data.medmnist import Part, fingerprint, read, shared_with


def arrays(count: int = 6, flat: bool = False) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {}
    for name in ("train", "val", "test"):
        made[f"{name}_images"] = random.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = (np.arange(count) % 2).astype(np.uint8)
        made[f"{name}_labels"] = labels if flat else labels[:, None]
    return made


def saved(folder: Path, made: dict[str, np.ndarray]) -> Path:
    path = folder / "set.npz"
    np.savez(path, **made)
    return path


@pytest.mark.parametrize("flat", [False, True])
def test_labels_of_one_and_of_two_dimensions_read_alike(tmp_path: Path, flat: bool) -> None:
    found = read(saved(tmp_path, arrays(flat=flat)))
    assert found.train.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert found.test is not None
    assert len(found.test) == 6


def test_a_copy_without_its_test_part_has_the_same_fingerprint(tmp_path: Path) -> None:
    whole = read(saved(tmp_path, arrays()))
    part = arrays()
    del part["test_images"], part["test_labels"]
    without = read(saved(tmp_path, part))
    assert without.test is None
    assert without.fingerprint == whole.fingerprint


def test_the_fingerprint_ignores_row_order_and_sees_one_changed_pixel_or_label() -> None:
    part = Part(arrays()["train_images"], np.arange(6) % 2)
    order = np.array([3, 1, 0, 5, 4, 2])
    assert fingerprint(part.take(order)) == fingerprint(part)
    pixels = part.images.copy()
    pixels[2, 3, 4] ^= 1
    assert fingerprint(Part(pixels, part.labels)) != fingerprint(part)
    assert fingerprint(Part(part.images, 1 - part.labels)) != fingerprint(part)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_images": np.zeros((6, 28, 28, 3), np.uint8)}, r"train_images is uint8 \(6, 28, 28, 3\)"),
        ({"val_images": np.zeros((6, 28, 28), np.float32)}, "val_images is float32"),
        ({"val_labels": np.zeros((5, 1), np.uint8)}, "not 6 class indices"),
        ({"train_labels": np.zeros(6, np.float32)}, "train_labels is float32"),
        ({"val_labels": None}, "needs train_images"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, np.ndarray | None], words: str) -> None:
    made = {name: value for name, value in {**arrays(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=words):
        read(saved(tmp_path, made))


@pytest.mark.parametrize("content", [b"", b"not an npz", b"PK\x03\x04broken"])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz"):
        read(path)


def test_pickled_objects_are_not_read(tmp_path: Path) -> None:
    made = arrays()
    made["train_labels"] = np.array([{"code": 1}] * 6, dtype=object)
    with pytest.raises(ValueError, match="pickle"):
        read(saved(tmp_path, made))


def test_images_that_stand_in_two_parts_are_found() -> None:
    images = arrays()["train_images"]
    part, other = Part(images, np.zeros(6, np.int64)), Part(images[[4, 1]], np.zeros(2, np.int64))
    assert shared_with(part, other).tolist() == [False, True, False, False, True, False]


def test_the_oddities_of_the_real_sets(test_data: Path) -> None:
    chest = read(test_data / "imaging" / "pneumoniamnist.npz")
    assert (len(chest.train), len(chest.validation)) == (4708, 524)
    mask = shared_with(chest.train, chest.validation)
    assert len({chest.train.images[row].tobytes() for row in np.flatnonzero(mask)}) == 8
    breast = read(test_data / "imaging" / "breastmnist.npz")
    assert breast.train.labels.sum() == 399
