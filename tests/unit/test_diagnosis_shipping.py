"""From a data set to a shipped model and back: what `make` writes is what the predictor loads."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from imaging.drawing import png
from jobs.errors import ModelUnusable
from jobs.predicting import ModelVersion, Source
from models.data.medmnist import DataSet, Part, read
from models.diagnosis import calibration, evaluate, make, metrics, shipping
from models.diagnosis.kind import DiagnosisItem, DiagnosisParams
from models.diagnosis.networks import CnnBasic, Ensemble
from models.diagnosis.predictor import load
from models.diagnosis.recipes import BREAST, CHEST, SHIPPED, Shipped
from models.diagnosis.trainer import Recipe
from models.diagnosis.weights import load_network

SMALL = dataclasses.replace(CHEST, recipe=Recipe("cnn-basic", {}, 4, 16, precision="fp32"), baseline_epochs=1)


def part(count: int, seed: int) -> Part:
    """Half of the images have a bright square in the middle: class 1."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 90, (count, 28, 28), dtype=np.uint8)
    labels = np.arange(count) % 2
    images[labels == 1, 8:18, 8:18] += 120
    return Part(images, labels.astype(np.int64))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with a test part, as a MedMNIST file."""
    arrays = {}
    for name, count, seed in (("train", 96, 0), ("val", 48, 1), ("test", 40, 2)):
        one = part(count, seed)
        arrays |= {f"{name}_images": one.images, f"{name}_labels": one.labels[:, None]}
    path = tmp_path_factory.mktemp("data") / CHEST.file
    np.savez(path, **arrays)
    return path


def shipped(model: Shipped, data: DataSet, out: Path, keep: Path | None = None) -> ModelVersion:
    trained = make.train_all(model, data, (0, 1), keep)
    folder = shipping.ship(model, data, trained.part, trained.own, trained.baseline, out, 1)
    manifest = json.loads((folder / "manifest.json").read_text())
    return ModelVersion(model.name, 1, "diagnosis", folder, manifest)


@pytest.fixture(scope="module")
def version(data: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    return shipped(SMALL, read(data), tmp_path_factory.mktemp("out"))


def test_given_a_shipped_model_when_an_image_is_diagnosed_then_the_answer_fits_the_schema(
    version: ModelVersion, tmp_path: Path
) -> None:
    predictor = load(version, "cpu")
    (tmp_path / "x.png").write_bytes(png(part(2, 3).images[1]))

    decoded = predictor.decode(Source((tmp_path / "x.png",)), DiagnosisParams())
    item = DiagnosisItem.model_validate(predictor.encode(decoded, predictor.predict([decoded])[0], 0).item)

    assert item.findings[0].label == "pneumonia"
    assert item.findings[0].decision == "positive"


def test_given_a_shipped_model_when_read_then_seeds_baseline_card_and_alias_stand_beside_it(
    version: ModelVersion,
) -> None:
    manifest = version.manifest
    card = (version.folder / "card.md").read_text()

    assert [row["seed"] for row in manifest["metrics"]["seeds"]] == [0, 1]
    assert [row["seed"] for row in manifest["baseline"]["seeds"]] == [0, 1]
    assert manifest["metrics"]["mean"]["auc"] == pytest.approx(
        np.mean([row["auc"] for row in manifest["metrics"]["seeds"]]), abs=1e-4
    )
    assert manifest["seed"] == min(manifest["metrics"]["seeds"], key=lambda row: row["validation_loss"])["seed"]
    assert "Known risks" in card
    assert "not a medical device" in card
    assert json.loads((version.folder.parent / "aliases.json").read_text()) == {"production": 1}


def test_given_the_manifests_own_calibration_when_applied_to_the_test_part_then_it_gives_the_figures_of_the_card(
    version: ModelVersion, data: Path
) -> None:
    test, label = read(data).test, version.manifest["labels"][0]
    assert test is not None

    logits = evaluate.look(load_network(version), test.images).logits
    p = calibration.softmax(logits, version.manifest["calibration"]["temperature"])[:, label["class"]]
    found = metrics.values((test.labels == 1).astype(np.int64), p, label["threshold"])

    assert found == {name: version.manifest["metrics"]["test"][name]["value"] for name in found}


def test_given_a_copy_without_its_test_part_when_made_then_the_weights_are_the_same_and_no_figure_is_claimed(
    version: ModelVersion, data: Path, tmp_path: Path
) -> None:
    blind = shipped(SMALL, dataclasses.replace(read(data), test=None), tmp_path)

    assert blind.weights_sha256 == version.weights_sha256
    assert blind.manifest["metrics"]["test"] is None
    assert "No test part was there" in (blind.folder / "card.md").read_text()


def test_given_kept_networks_when_made_again_then_nothing_is_trained_and_the_weights_are_the_same(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = dataclasses.replace(SMALL, recipe=Recipe.baseline(1))
    first = make.train_all(model, read(data), (0,), tmp_path).own[0].state_dict()
    monkeypatch.setattr(make, "train", lambda *_: pytest.fail("trained again"))
    second = make.train_all(model, read(data), (0,), tmp_path).own[0].state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_given_weights_that_were_changed_when_loaded_then_the_model_is_unusable(
    version: ModelVersion, tmp_path: Path
) -> None:
    content = bytearray((version.folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(content)

    with pytest.raises(ModelUnusable, match="sha256"):
        load_network(dataclasses.replace(version, folder=tmp_path))


def test_given_an_ensemble_when_it_runs_then_its_logits_are_the_mean_of_its_members() -> None:
    torch.manual_seed(0)
    ensemble, x = Ensemble(2, members=3).eval(), torch.randn(4, 1, 28, 28)

    alone = torch.stack([member(x) for member in ensemble.members])

    assert torch.allclose(ensemble(x), alone.mean(dim=0), atol=1e-6)
    assert isinstance(ensemble.members[0], CnnBasic)


def test_given_members_when_an_ensemble_is_trained_then_each_has_a_seed_of_its_own(data: Path) -> None:
    model = dataclasses.replace(SMALL, members=2, recipe=Recipe.baseline(1), baseline_epochs=1)

    own = make.train_all(model, read(data), (1,), None).own[1]

    first, second = (member.output.weight for member in own.members)  # type: ignore[union-attr]
    assert not torch.equal(first, second)


@pytest.mark.parametrize("model", [CHEST, BREAST], ids=lambda model: model.name)
def test_given_the_shipped_weights_when_weighed_then_each_file_has_at_most_5_megabytes(model: Shipped) -> None:
    folder = Path(shipping.__file__).parent.parent / "shipped" / model.name

    assert model.name in SHIPPED
    assert all(path.stat().st_size <= 5_000_000 for path in folder.rglob("*"))
    assert list(folder.rglob("manifest.json"))
