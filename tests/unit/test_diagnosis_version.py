"""From a data set to a version and back: what the trainer writes is what the predictor loads."""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imaging.drawing import png
from jobs.errors import ModelUnusable
from jobs.predicting import ModelVersion, Source
from jobs.running import Stop
from jobs.training import NewVersion
from models.catalogue import catalogue
from models.data.canonical import ImageSet
from models.diagnosis import calibration, evaluate, metrics
from models.diagnosis.kind import DiagnosisItem, DiagnosisParams
from models.diagnosis.networks import CnnBasic, Ensemble
from models.diagnosis.predictor import load
from models.diagnosis.recipes import DiagnosisRecipe
from models.diagnosis.trainer import train
from models.diagnosis.weights import load_network
from models.training.local import LocalWork
from models.training.session import Session
from tests.diagnosis_data import SMALL, bright_or_dark


def trained(data: ImageSet, recipe: DiagnosisRecipe = SMALL) -> NewVersion:
    torch.set_num_threads(1)
    return train(Session.local(data, recipe, 0))


def on_disk(new: NewVersion, folder: Path) -> ModelVersion:
    for name, content in new.files.items():
        (folder / name).write_bytes(content)
    return ModelVersion(new.name, 1, new.kind, folder, {**new.manifest, "version": 1})


@pytest.fixture(scope="module")
def new() -> NewVersion:
    return trained(bright_or_dark())


@pytest.fixture(scope="module")
def version(new: NewVersion, tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    return on_disk(new, tmp_path_factory.mktemp("version"))


def test_given_a_version_when_an_image_is_diagnosed_then_the_answer_fits_the_schema_and_says_what_was_not_checked(
    version: ModelVersion, tmp_path: Path
) -> None:
    predictor, data = load(version, "cpu"), bright_or_dark()
    (tmp_path / "x.png").write_bytes(png(data.images[data.part(2)[1]]))

    decoded = predictor.decode(Source((tmp_path / "x.png",)), DiagnosisParams())
    item = DiagnosisItem.model_validate(predictor.encode(decoded, predictor.predict([decoded])[0], 0).item)

    assert item.findings[0].label == "bright"
    assert item.findings[0].decision == "positive"


def test_given_a_version_when_read_then_seeds_baseline_subgroups_and_card_stand_in_it(new: NewVersion) -> None:
    manifest: Any = new.manifest
    card = new.files["card.md"].decode()

    assert [row["seed"] for row in manifest["metrics"]["seeds"]] == [0, 1]
    assert [row["seed"] for row in manifest["baseline"]["seeds"]] == [0, 1]
    assert manifest["metrics"]["mean"]["auc"] == pytest.approx(
        np.mean([row["auc"] for row in manifest["metrics"]["seeds"]]), abs=1e-4
    )
    assert manifest["chosen_seed"] == min(manifest["metrics"]["seeds"], key=lambda row: row["validation_loss"])["seed"]
    assert manifest["metrics"]["subgroups"] == {}, "20 cases of each site are too few to be judged"
    assert manifest["groups"] == {"Site": ["north", "south"]}
    assert "Known risks" in card
    assert "not a medical device" in card


def test_given_the_manifests_own_calibration_when_applied_to_the_test_part_then_it_gives_the_figures_of_the_card(
    version: ModelVersion,
) -> None:
    data, label = bright_or_dark(), version.manifest["labels"][0]
    test = data.take(data.part(2))

    logits = evaluate.look(load_network(version), test.images).logits
    p = calibration.softmax(logits, version.manifest["calibration"]["temperature"])[:, label["class"]]
    found = metrics.values((test.labels == 1).astype(np.int64), p, label["threshold"])

    assert found == {name: version.manifest["metrics"]["test"][name]["value"] for name in found}
    with np.load(io.BytesIO((version.folder / "cases.npz").read_bytes())) as cases:
        assert np.array_equal(cases["key"], test.key)
        assert np.allclose(cases["p"], p, atol=1e-6)
        assert np.array_equal(cases["y"], test.labels)


def test_given_subgroups_that_are_large_enough_then_each_has_figures_of_its_own() -> None:
    found = trained(bright_or_dark(test=160), SMALL.model_copy(update={"seeds": 1, "epochs": 1.0}))

    subgroups = found.manifest["metrics"]["subgroups"]
    assert {name: of["n"] for name, of in subgroups.items()} == {"Site=north": 80, "Site=south": 80}
    assert 0 <= subgroups["Site=north"]["auc"]["low"] <= subgroups["Site=north"]["auc"]["high"] <= 1


def test_given_a_copy_without_its_test_part_when_trained_then_the_weights_are_the_same_and_no_figure_is_claimed(
    new: NewVersion,
) -> None:
    data = bright_or_dark()
    blind = trained(data.take(data.split != 2))

    assert blind.files["weights.safetensors"] == new.files["weights.safetensors"]
    assert blind.manifest["metrics"]["test"] is None
    assert "No test part was there" in blind.files["card.md"].decode()
    assert "cases.npz" not in blind.files


def test_given_the_same_data_recipe_and_seed_then_every_file_is_the_same_to_the_byte(new: NewVersion) -> None:
    again = trained(bright_or_dark())

    assert dict(again.files) == dict(new.files)


class Heard(LocalWork):
    """Counts the looks at the cancel flag by what the training says that it does; cancelled at look `end` of `at`."""

    def __init__(self, at: str = "", end: int = 0) -> None:
        super().__init__()
        self.at, self.end, self.looks = at, end, Counter[str]()

    def step(self) -> None:
        if self.said:
            self.looks[self.said[-1][2]] += 1
        if self.end and self.looks[self.at] >= self.end:
            raise Stop("cancelled", resumes=False)


def test_given_a_training_that_evaluates_then_each_batch_map_and_resample_looks_whether_it_was_cancelled() -> None:
    torch.set_num_threads(1)
    data = bright_or_dark()
    session = Session.local(data, SMALL.model_copy(update={"seeds": 1, "epochs": 2.0}), 0, work=Heard())
    train(session)
    looks = session.work.looks  # type: ignore[attr-defined]
    assert looks["calibration on the validation part"] >= 1
    assert looks["what familiar images look like"] >= 2
    assert looks["audit of the evidence maps"] >= 60
    assert looks["the test part, once"] >= 5 * 2000


@pytest.mark.parametrize(
    "stage", ["calibration on the validation part", "audit of the evidence maps", "the test part, once"]
)
def test_given_a_cancel_while_it_evaluates_then_it_ends_there_and_saves_nothing_more(stage: str) -> None:
    torch.set_num_threads(1)
    work = Heard(stage, 2)
    with pytest.raises(Stop):
        train(Session.local(bright_or_dark(), SMALL.model_copy(update={"seeds": 1, "epochs": 2.0}), 0, work=work))
    assert work.said[-1][2] == stage
    assert work.looks[stage] == 2


def test_given_members_then_each_has_weights_of_its_own() -> None:
    recipe = SMALL.model_copy(update={"members": 2, "seeds": 1, "epochs": 0.5})
    found = trained(bright_or_dark(), recipe)

    assert found.manifest["network"] == {"name": "cnn-basic-ensemble", "config": {"members": 2}}


def test_given_a_network_that_finds_next_to_nothing_then_its_maps_fail_their_audit_and_the_card_says_why() -> None:
    data = bright_or_dark(validation=12)
    found = trained(data, SMALL.model_copy(update={"seeds": 1, "epochs": 0.2}))

    assert found.manifest["audit"]["tests"] == {"enough images": False}
    assert found.manifest["audit"]["passed"] is False
    assert "The maps failed, so none is shown: enough images FAILED" in found.files["card.md"].decode()


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


@pytest.mark.parametrize("name", ["chest-pneumonia", "breast-malignancy"])
def test_given_the_shipped_weights_when_weighed_then_each_file_has_at_most_5_megabytes(name: str) -> None:
    folder = catalogue().resolve(name).folder

    assert all(path.stat().st_size <= 5_000_000 for path in folder.rglob("*"))
    assert (folder / "manifest.json").exists()
