"""The medmnist format: both shapes of labels, colour, keys, and refusals that name the array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from jobs.errors import DatasetInvalid
from models.data.canonical import ImageSet, dump, fingerprint, ordered
from models.data.formats import medmnist
from models.data.formats.medmnist import read
from models.data.options import MedmnistOptions


def arrays(count: int = 6, flat: bool = False, colour: bool = False) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {}
    for name in ("train", "val", "test"):
        shape = (count, 28, 28, 3) if colour else (count, 28, 28)
        made[f"{name}_images"] = random.integers(0, 256, shape).astype(np.uint8)
        labels = (np.arange(count) % 2).astype(np.uint8)
        made[f"{name}_labels"] = labels if flat else labels[:, None]
    return made


def loaded(folder: Path, made: dict[str, np.ndarray], **options: object) -> ImageSet:
    np.savez_compressed(folder / "set.npz", **made)
    return read([folder / "set.npz"], MedmnistOptions(**options))


@pytest.mark.parametrize("flat", [False, True])
def test_labels_of_one_and_of_two_dimensions_read_alike(tmp_path: Path, flat: bool) -> None:
    found = loaded(tmp_path, arrays(flat=flat), classes=("ill", "well"), positive="ill")
    assert found.counts() == {"train": 6, "validation": 6, "test": 6}
    assert found.labels[:6].tolist() == [0, 1, 0, 1, 0, 1]
    assert (found.classes, found.positive) == (("ill", "well"), "ill")


def test_the_published_parts_are_kept(tmp_path: Path) -> None:
    made = arrays()
    found = loaded(tmp_path, made)
    for which, name in enumerate(("train", "val", "test")):
        assert (found.images[found.part(which)] == made[f"{name}_images"]).all()


def test_colour_becomes_the_grey_that_pillow_makes_of_it(tmp_path: Path) -> None:
    made = arrays(colour=True)
    found = loaded(tmp_path, made)
    pillow = np.asarray(Pillow.fromarray(made["train_images"][0]).convert("L")).astype(int)
    assert abs(found.images[0].astype(int) - pillow).max() <= 1


def test_another_order_of_rows_and_another_packing_are_the_same_set(tmp_path: Path) -> None:
    made = arrays()
    made["train_images"][4] = made["train_images"][1]  # Two copies, under labels 0 and 1.
    first = loaded(tmp_path, made)
    turned = {name: array[::-1] for name, array in made.items()}
    other = loaded(tmp_path, turned)
    assert fingerprint(first) == fingerprint(other)
    assert len(set(first.key.tolist())) == len(first)
    assert dump(ordered(first))["data.npz"] != dump(first)["data.npz"]


def test_a_set_without_test_part_is_read(tmp_path: Path) -> None:
    made = {name: array for name, array in arrays().items() if not name.startswith("test")}
    assert loaded(tmp_path, made).counts()["test"] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_images": np.zeros((6, 28, 28, 4), np.uint8)}, r"train_images is uint8 \(6, 28, 28, 4\)"),
        ({"val_images": np.zeros((6, 28, 28), np.float32)}, "val_images is float32"),
        ({"val_labels": np.zeros((5, 1), np.uint8)}, r"val_labels is uint8 \(5,\)"),
        ({"val_labels": np.zeros((6, 14), np.uint8)}, "one class index for each image"),
        ({"train_labels": np.array([0.0, np.nan] * 3)}, "train_labels is float64"),
        ({"train_labels": np.array([0, -1] * 3)}, "indices below 0"),
        ({"val_labels": None}, "needs train_images"),
        ({"test_images": np.zeros((6, 32, 32), np.uint8)}, "different sizes"),
        ({"train_labels": np.array([0, 7] * 3)}, "names only 2 classes"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, np.ndarray | None], words: str) -> None:
    made = {name: value for name, value in {**arrays(), **change}.items() if value is not None}
    with pytest.raises(DatasetInvalid, match=words):
        loaded(tmp_path, made, classes=("a", "b"))


@pytest.mark.parametrize("content", [b"not an npz", b"PK\x03\x04broken"])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DatasetInvalid, match="not a readable npz"):
        read([tmp_path / "x.npz"], MedmnistOptions())


def test_pickled_objects_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match="pickled"):
        loaded(tmp_path, {**arrays(), "train_labels": np.array([{"code": 1}] * 6, dtype=object)})


def test_arrays_that_would_fill_the_memory_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(medmnist, "MOST_BYTES", 1 << 20)
    with pytest.raises(DatasetInvalid, match="arrays take more"):
        loaded(tmp_path, {**arrays(), "train_images": np.zeros((2000, 28, 28), np.uint8)})
