"""Training a diagnosis network: it learns, fits its recipe to the data, and augments within its bounds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from jobs.errors import DatasetInvalid, InputError
from jobs.predicting import ModelVersion
from jobs.running import Stop
from models.data.canonical import ImageSet
from models.diagnosis.augment import augment, views
from models.diagnosis.fitting import ImageTask, architecture, baseline, together
from models.diagnosis.networks import CnnBasic, build, normalise
from models.diagnosis.recipes import RECIPES, Augmentation, ChestPneumonia, DiagnosisRecipe, Simple
from models.diagnosis.trainer import parted, train
from models.training.session import Session
from tests.diagnosis_data import SMALL, bright_or_dark
from tests.training_toy import Interrupted


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def fitted(data: ImageSet, recipe: DiagnosisRecipe, seed: int = 0) -> torch.nn.Module:
    parts = parted(data, recipe)
    session = Session.local(data, recipe, seed)
    return session.fit("network", ImageTask(parts.train, parts.validation, recipe, parts.positive), recipe.epochs)


@pytest.mark.parametrize("recipe", [SMALL, SMALL.model_copy(update={"precision": "bf16"}), Simple(epochs=4, batch=16)])
def test_a_plain_difference_is_learnt(recipe: DiagnosisRecipe) -> None:
    data = bright_or_dark()
    network = fitted(data, recipe)
    test = data.take(data.part(2))
    with torch.no_grad():
        found = network(normalise(test.images)).argmax(dim=1).numpy()
    assert (found == test.labels).mean() >= 0.9
    assert next(network.parameters()).dtype == torch.float32
    assert not network.training


def test_the_fits_of_a_training_share_its_images_and_hold_no_copy_of_their_own() -> None:
    """Given three fits, when each has made a batch, then all hold the very same bytes and no tensor of that size, and
    the batch is that part of the whole set as the network takes it."""
    data = bright_or_dark()
    parts = parted(data, SMALL)
    tasks = [ImageTask(parts.train, parts.validation, SMALL, parts.positive) for _ in range(3)]
    index = torch.tensor([5, 0, 17])
    for task in tasks:
        x, y = task.batch(index, torch.Generator())
        assert torch.equal(x, normalise(parts.train.images)[index])
        assert y.tolist() == parts.train.labels[index.numpy()].tolist()
        assert task.train.images is parts.train.images
        held = [value for value in vars(task).values() if isinstance(value, torch.Tensor)]
        assert all(tensor.numel() < parts.train.images.size for tensor in held)


def test_the_default_recipe_stopped_anywhere_ends_with_the_same_weights() -> None:
    """Given ResNet-18 in bf16 with its channels last, averaged and augmented, when it is stopped at the second and at
    the seventh step and goes on, then no weight differs in any bit from those of a training that was not."""
    recipe = DiagnosisRecipe(width=4, epochs=3, batch=32)
    assert (recipe.architecture, recipe.precision) == ("resnet18", "bf16")
    parts = parted(bright_or_dark(), recipe)

    def weights(work: Interrupted) -> dict[str, torch.Tensor]:
        session = Session.local(bright_or_dark(), recipe, 0, work=work)
        task = ImageTask(parts.train, parts.validation, recipe, parts.positive)
        return session.fit("network", task, recipe.epochs).state_dict()

    whole, work = weights(Interrupted()), Interrupted()
    for work.stop_after in (2, 5):
        work.steps = 0
        with pytest.raises(Stop):
            weights(work)
    reached = work.checkpoints.newest()[1]["now"]["said"]["step"]
    assert 0 < reached < 9
    work.stop_after = None
    again = weights(work)
    assert whole.keys() == again.keys()
    assert [name for name, value in whole.items() if not torch.equal(value, again[name])] == []


def test_a_training_image_that_validation_holds_too_is_left_out() -> None:
    data = bright_or_dark()
    data.images[data.part(0)[:3]] = data.images[data.part(1)[:3]]
    parts = parted(data, SMALL)
    assert parts.dropped == 3
    assert len(parts.train) == data.counts()["train"] - 3


def test_a_part_without_both_classes_is_refused_by_name() -> None:
    data = bright_or_dark()
    labels = data.labels.copy()
    labels[data.part(1)] = 0
    with pytest.raises(DatasetInvalid, match="validation"):
        parted(dataclasses.replace(data, labels=labels), SMALL)


def test_a_finding_that_the_data_set_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(InputError, match="dark, bright"):
        parted(bright_or_dark(), SMALL.model_copy(update={"positive": "grey"}))


def test_of_more_than_two_classes_one_is_the_finding_and_the_others_become_one() -> None:
    two = bright_or_dark()
    three = dataclasses.replace(two, labels=np.arange(len(two)) % 3, classes=("a", "b", "c"))
    with pytest.raises(InputError, match="positive"):
        parted(three, SMALL)
    parts = parted(three, SMALL.model_copy(update={"positive": "c"}))
    assert parts.train.classes == ("not c", "c")
    assert parts.train.labels.tolist() == (three.labels[three.part(0)] == 2).astype(int).tolist()


def test_a_parent_gives_its_weights_and_one_of_another_network_is_refused(tmp_path: object) -> None:
    data = bright_or_dark()
    recipe = SMALL.model_copy(update={"epochs": 1.0, "architecture": "resnet18", "width": 4})
    parts = parted(data, recipe)
    start = build(*architecture(recipe, parts.train))
    begun = ImageTask(parts.train, parts.validation, recipe, parts.positive, start).build()
    assert all(torch.equal(a, b) for a, b in zip(begun.state_dict().values(), start.state_dict().values(), strict=True))
    manifest = {"network": {"name": "cnn-basic", "config": {}}, "classes": ["dark", "bright"]}
    session = Session.local(data, recipe, 0)
    session.parent = ModelVersion("other", 1, "diagnosis", session.work.folder, manifest)
    with pytest.raises(InputError, match="parent"):
        train(session)


def test_every_recipe_is_data_with_defaults_and_the_default_is_resnet18() -> None:
    assert next(iter(RECIPES)) == "resnet18"
    for recipe in RECIPES.values():
        recipe()
    assert ChestPneumonia().card.population.startswith("Children")
    assert baseline(ChestPneumonia()).architecture == "cnn-basic"


def test_larger_images_have_a_pool_and_a_larger_dense_layer() -> None:
    data = bright_or_dark(side=64)
    assert architecture(DiagnosisRecipe(), data) == ("resnet18", 2, {"width": 32, "pool": True})
    name, classes, options = architecture(Simple(), data)
    assert build(name, classes, options)(torch.zeros(1, 1, 64, 64)).shape == (1, 2)


def test_members_are_averaged_in_the_order_of_their_numbers() -> None:
    data = bright_or_dark()
    torch.manual_seed(0)
    members = [CnnBasic().eval() for _ in range(3)]
    x = torch.randn(4, 1, 28, 28)
    alone = torch.stack([member(x) for member in members]).mean(dim=0)
    assert torch.allclose(together(list(members), data)(x), alone, atol=1e-6)


def test_cnn_basic_has_the_layers_that_its_name_stands_for() -> None:
    network = CnnBasic()
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim > 1]
    assert shapes == [(32, 1, 3, 3), (64, 32, 3, 3), (128, 64, 3, 3), (512, 1152), (1, 512)]
    logits = network(torch.randn(5, 1, 28, 28))
    odds = network.output(network.tail(network.trunk(torch.randn(1, 1, 28, 28)))[0])
    assert logits.shape == (5, 2)
    assert odds.shape == (1, 1)
    assert torch.allclose(logits.sum(dim=1), torch.zeros(5), atol=1e-6)


def test_a_network_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="choose one of cnn-basic, cnn-basic-ensemble, resnet18"):
        build("resnet19", 2)


def test_no_change_at_all_leaves_the_image() -> None:
    x = normalise(bright_or_dark().images[:4])
    still = Augmentation(shift=0, rotate=0, zoom=0, brightness=0, contrast=0)
    assert torch.allclose(augment(x, still, torch.Generator()), x, atol=1e-5)


def test_chest_images_are_not_mirrored_by_default_and_ultrasound_may_be() -> None:
    x = -torch.ones(64, 1, 28, 28)
    x[:, :, :, :10] = 1.0
    still = Augmentation(shift=0, rotate=0, zoom=0, brightness=0, contrast=0)
    kept = augment(x, still, torch.Generator().manual_seed(0))
    assert (kept[:, 0, 14, 2] > 0).all()
    mirrored = augment(x, still.model_copy(update={"flip": True}), torch.Generator().manual_seed(0))
    assert 10 < (mirrored[:, 0, 14, 2] < 0).sum() < 54


def test_a_shift_stays_within_its_bound() -> None:
    x = -torch.ones(256, 1, 29, 29)
    x[:, :, 14, 14] = 1.0
    moved = augment(
        x, Augmentation(shift=2.0, rotate=0, zoom=0, brightness=0, contrast=0), torch.Generator().manual_seed(1)
    )
    places = moved.flatten(1).argmax(dim=1)
    rows, columns = places // 29, places % 29
    assert rows.min() >= 12
    assert rows.max() <= 16
    assert columns.min() >= 12
    assert columns.max() <= 16
    assert len(places.unique()) > 10


def test_the_first_view_is_the_image_and_the_others_are_a_pixel_away() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    made = views(x, 3)
    assert torch.equal(made[0], x)
    assert torch.equal(made[1][..., :3], x[..., 1:])
    assert torch.equal(made[2][..., 1:], x[..., :3])
