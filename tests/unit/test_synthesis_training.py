"""From a data set to a generator: the same weights however often it is interrupted, and figures that tell the truth."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from jobs.errors import DatasetInvalid, InputError
from jobs.predicting import ModelVersion
from jobs.running import Stop
from jobs.training import NewVersion
from models.data.canonical import ImageSet
from models.synthesis import trainer
from models.synthesis.drawing import load
from models.synthesis.recipes import RECIPES, DcganRecipe, SynthesisRecipe
from models.training import plan
from models.training.local import LocalWork
from models.training.run import run
from models.training.session import Session
from tests.synthetic_shapes import CLASSES, shapes
from tests.training_toy import Interrupted, job

SMALL: dict[str, Any] = {"width": 4, "noise": 8, "batch": 32, "epochs": 2, "checked": 120, "judge_epochs": 1}
RECIPE = SynthesisRecipe.model_validate({**SMALL, "baseline_epochs": 1})


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plan, "MEASURED_S", 0.01)
        yield
    torch.set_num_threads(before)


def trained(
    work: LocalWork | None = None, data: ImageSet | None = None, recipe: Any = RECIPE
) -> tuple[Session, NewVersion]:
    session = Session.local(data or shapes(), recipe, 5, work=work)
    return session, trainer.train(session)


@pytest.fixture(scope="module")
def whole(_quick: None) -> tuple[Session, NewVersion]:
    return trained()


def test_a_training_that_is_stopped_again_and_again_ends_with_the_same_files_and_pictures(
    whole: tuple[Session, NewVersion],
) -> None:
    """Given stops in either network's turn, then no bit of the weights differs, nor a picture of the learning."""
    work = Interrupted()
    stops = 0
    for steps in (1, 4, 3, 6, 5):
        work.steps, work.stop_after = 0, steps
        with pytest.raises(Stop):
            trained(work)
        stops += 1
    work.stop_after = None
    session, made = trained(work)
    assert stops == 5
    assert {name: hashlib.sha256(content).hexdigest() for name, content in made.files.items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in whole[1].files.items()
    }
    assert session.pictures.files() == whole[0].pictures.files()
    assert session.curves.as_json() == whole[0].curves.as_json()


def test_a_person_sees_it_learn(whole: tuple[Session, NewVersion]) -> None:
    pictures = whole[0].pictures.files()
    assert [name for name in pictures if name.startswith("gan-")] == [
        f"gan-{step:06d}.png" for step in (1, 2, 3, 5, 10, 20)
    ]
    first, last = (Image.open(io.BytesIO(pictures[name])) for name in ("gan-000001.png", "gan-000020.png"))
    assert first.size == last.size
    assert "SYNTHETIC" in last.text["Description"]  # type: ignore[attr-defined]
    assert np.asarray(first).tobytes() != np.asarray(last).tobytes()
    work = whole[0].work
    assert isinstance(work, LocalWork)
    assert work.shown == pictures  # each as soon as it is drawn


def test_the_version_holds_its_generator_alone_and_in_half_precision(whole: tuple[Session, NewVersion]) -> None:
    stored = safetensors.torch.load(whole[1].files["weights.safetensors"])
    assert {value.dtype for value in stored.values()} == {torch.float16, torch.int64}
    assert not any("discriminator" in name or "parametrizations" in name for name in stored)


def test_the_version_draws_as_it_was_measured(whole: tuple[Session, NewVersion], tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(whole[1].files["weights.safetensors"])
    generator = load(ModelVersion("m", 1, "synthesis", tmp_path, whole[1].manifest))
    assert generator.classes == CLASSES
    assert generator.series(3, 1, 0).shape == (3, 16, 16)


def test_the_manifest_has_quality_usefulness_and_privacy_each_beside_what_it_is_to_be_held_against(
    whole: tuple[Session, NewVersion],
) -> None:
    manifest = whole[1].manifest
    json.dumps(manifest, allow_nan=False)
    quality, private = manifest["quality"], manifest["privacy"]
    assert quality["features"] == "penultimate layer of chest-pneumonia@1"
    assert quality["floor"]["coverage"]["coverage"] > quality["generated"]["coverage"]["coverage"]
    assert set(private["attacks"]) == {"domias", "reconstruction", "discriminator"}
    assert all(attack["auc"]["low"] <= attack["auc"]["value"] for attack in private["attacks"].values())
    assert manifest["usefulness"]["part"] == "test"
    assert manifest["usefulness"]["n"] == manifest["metrics"]["test"]["n"] == 40
    assert set(manifest["baseline"]["mean"]) == {"coverage", "density", "kid", "radiomic_distance"}
    assert manifest["baseline"]["name"] == "dcgan-basic"


def test_a_generator_that_has_learnt_nothing_does_not_pass_its_gate_and_the_card_says_which_figure(
    whole: tuple[Session, NewVersion],
) -> None:
    gate = whole[1].manifest["gate"]
    assert gate["passed"] is False
    assert any(said.startswith("coverage is 0.0") for said in gate["failures"])
    assert "NOT passed" in whole[1].files["card.md"].decode()
    assert gate["failures"][0] in whole[1].files["card.md"].decode()


def test_the_test_part_decides_nothing(whole: tuple[Session, NewVersion]) -> None:
    """Given the data without it, then the weights are the same bytes, and the validation part stands in by name."""
    data = shapes()
    made = trained(data=data.take(data.split != 2))[1]
    assert made.files["weights.safetensors"] == whole[1].files["weights.safetensors"]
    assert made.manifest["metrics"]["test"] is None
    assert made.manifest["usefulness"]["part"] == "validation"


def test_the_simple_recipe_is_its_own_baseline() -> None:
    made = trained(recipe=DcganRecipe.model_validate({**SMALL, "epochs": 1}))[1]
    assert made.manifest["baseline"] == {"name": None, "mean": {}}
    assert made.manifest["network"]["name"] == "dcgan-basic"
    assert next(iter(RECIPES)) == "sn-gan"


@pytest.mark.parametrize(("count", "side", "error", "said"), [
    (24, 16, DatasetInvalid, "of the rarest class"),
    (240, 30, InputError, "these images have 30"),
])  # fmt: skip
def test_data_that_no_gan_learns_from_are_refused(count: int, side: int, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        trained(data=shapes(count, side))


def test_a_parent_is_refused(tmp_path: Path) -> None:
    session = Session.local(shapes(), RECIPE, 0)
    session.parent = ModelVersion("m", 1, "synthesis", tmp_path, {})
    with pytest.raises(InputError, match="Leave parent out"):
        trainer.train(session)


@pytest.mark.slow
def test_two_ranks_train_in_turns_too(tmp_path: Path) -> None:
    """Given a step whose loss leaves one of the networks out, then the ranks agree on which weights move."""
    settings = {**SMALL, "epochs": 1, "baseline_epochs": 1}
    work = job(tmp_path, shapes(), kind="synthesis", recipe="sn-gan", overrides=settings, devices=2)
    finished = run(work)
    assert finished.items[0]["plan"]["steps"] == {"gan": 10, "baseline": 10}
    assert finished.items[0]["curves"]["gan/loss"]["points"] == 10
    assert finished.version is not None
