"""Virtual images in a training: how many of which class, where they stand, and that nothing takes them for real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.errors import ExportRefused, InputError
from jobs.running import Finished
from models.data.canonical import ImageSet
from models.synthesis.drawing import load
from models.synthesis.mixing import mixed, real
from models.training import plan
from models.training.kind import TrainingParams
from models.training.run import run
from tests.synthetic_shapes import REFUSED, shapes, version
from tests.training_toy import job


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(plan, "MEASURED_S", 0.01)
    yield
    torch.set_num_threads(before)


def test_the_training_part_grows_by_the_ratio_in_each_class_and_the_others_stay_real(tmp_path: Path) -> None:
    data, generator = shapes(), version(tmp_path)
    more = mixed(data, generator, 0.5, 3)
    assert data.counts() == {"train": 160, "validation": 40, "test": 40}
    assert more.counts() == {"train": 240, "validation": 40, "test": 40}
    assert np.bincount(more.labels[more.split == 0]).tolist() == [120, 120]
    drawn = more.take(np.arange(240, 320))
    for label in (0, 1):
        assert np.array_equal(drawn.images[drawn.labels == label], load(generator).series(40, label, 3))
    assert len(np.unique(more.patient)) == len(more.key) == len(np.unique(more.key))


def test_the_real_images_can_be_told_from_the_virtual_ones(tmp_path: Path) -> None:
    data = shapes()
    back = real(mixed(data, version(tmp_path), 2, 0), {"images": 320})
    assert np.array_equal(back.key, data.key)
    assert np.array_equal(back.images, data.images)
    assert real(data, None) is data


def test_images_of_another_size_are_resized(tmp_path: Path) -> None:
    more = mixed(shapes(60, side=28), version(tmp_path), 1, 0)
    assert more.images.shape == (100, 28, 28)


def test_a_generator_that_did_not_pass_or_lacks_a_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportRefused, match="coverage"):
        mixed(shapes(60), version(tmp_path, REFUSED), 1, 0)
    other = shapes(60)
    renamed = ImageSet(**{**vars(other), "classes": ("left", "upper")})
    with pytest.raises(InputError, match="it draws: left, right"):
        mixed(renamed, version(tmp_path), 1, 0)


def trained(folder: Path, **params: Any) -> Finished:
    settings = {"epochs": 1, "baseline_epochs": 1}
    work = job(folder, shapes(480), kind="diagnosis", recipe="cnn-basic", overrides=settings, **params)
    work.versions = {"augment_with": version(folder / "shapes")} if "augment_with" in params else {}
    return run(work)


def test_a_diagnosis_trained_with_virtual_images_says_so_and_counts_real_people_alone(tmp_path: Path) -> None:
    """Given a ratio of 2, then card and manifest name the generator and the number, and the plan has the steps."""
    finished = trained(tmp_path, augment_with="shapes@1", ratio=2.0)
    assert finished.version is not None
    manifest = finished.version.manifest
    told = {"name": "shapes", "version": 1, "ratio": 2.0, "images": 640}
    assert manifest["data"]["virtual"] == told
    assert manifest["data"]["train"] == 320
    assert manifest["data"]["counts"] == {"train": 320, "validation": 80, "test": 80}
    assert manifest["plan"]["steps"]["network-0"] == 8  # 960 images in batches of 128
    assert "640 synthetic images, drawn by shapes@1" in finished.version.files["card.md"].decode()
    assert "--augment-with shapes@1 --ratio 2" in manifest["made_with"]
    plain = trained(tmp_path / "plain").version
    assert plain is not None
    assert plain.manifest["data"]["virtual"] is None
    assert plain.manifest["plan"]["steps"]["network-0"] == 3
    assert plain.files["weights.safetensors"] != finished.version.files["weights.safetensors"]


class Named:
    """A version as the API knows it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


@pytest.mark.parametrize(("trains", "draws", "fits"), [
    ("diagnosis", "synthesis", True), ("diagnosis", "diagnosis", False), ("synthesis", "synthesis", False),
    ("prediction", "synthesis", False),
])  # fmt: skip
def test_only_a_generator_augments_and_only_a_diagnosis_is_augmented(trains: str, draws: str, fits: bool) -> None:
    form = "sequences" if trains == "prediction" else "images"
    params = TrainingParams.model_validate({"kind": trains, "dataset": "d", "augment_with": "g@1"})
    found = params.check_references({"dataset": {"format": form}}, {"augment_with": Named(draws)})
    assert [field for field, _ in found] == ([] if fits else ["augment_with"])
