"""Training: it learns, repeats itself bit for bit, tells its progress, and augments within its bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.data.medmnist import Part
from models.diagnosis.augment import Augmentation, augment, views
from models.diagnosis.networks import CnnBasic, build
from models.diagnosis.trainer import Progress, Recipe, normalise, train

SMALL = Recipe(options={"width": 4}, epochs=4, batch=16, ema=0.9, precision="fp32")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def bright_or_dark(count: int = 64) -> Part:
    random = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = random.integers(0, 100, (count, 28, 28)) + 120 * labels[:, None, None]
    return Part(images.astype(np.uint8), labels.astype(np.int64))


@pytest.mark.parametrize(
    "recipe", [replace(SMALL, epochs=8), replace(SMALL, epochs=8, precision="bf16"), Recipe.baseline(2)]
)
def test_a_plain_difference_is_learnt(recipe: Recipe) -> None:
    part = bright_or_dark()
    network = train(part, 2, recipe, seed=0)
    with torch.no_grad():
        found = network(normalise(part.images)).argmax(dim=1).numpy()
    assert (found == part.labels).mean() >= 0.9
    assert next(network.parameters()).dtype == torch.float32
    assert not network.training


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    part = bright_or_dark(32)
    first, again, other = (train(part, 2, SMALL, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_progress_is_told_each_epoch_and_ends_at_the_last_step() -> None:
    told: list[Progress] = []
    train(bright_or_dark(40), 2, SMALL, 0, told.append)
    assert [one.epoch for one in told if one.step % 3 == 0] == [1, 2, 3, 4]
    assert (told[-1].step, told[-1].steps, told[-1].eta) == (12, 12, 0.0)
    assert all(np.isfinite(one.loss) for one in told)


def test_what_the_callback_raises_stops_the_training() -> None:
    class Enough(Exception):
        pass

    def stop(progress: Progress) -> None:
        raise Enough

    with pytest.raises(Enough):
        train(bright_or_dark(), 2, SMALL, 0, stop)


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
    x = normalise(bright_or_dark(4).images)
    still = Augmentation(shift=0, rotate=0, zoom=0, brightness=0, contrast=0)
    assert torch.allclose(augment(x, still, torch.Generator()), x, atol=1e-5)


def test_chest_images_are_not_mirrored_by_default_and_ultrasound_may_be() -> None:
    x = -torch.ones(64, 1, 28, 28)
    x[:, :, :, :10] = 1.0
    still = Augmentation(shift=0, rotate=0, zoom=0, brightness=0, contrast=0)
    kept = augment(x, still, torch.Generator().manual_seed(0))
    assert (kept[:, 0, 14, 2] > 0).all()
    mirrored = augment(x, replace(still, flip=True), torch.Generator().manual_seed(0))
    assert 10 < (mirrored[:, 0, 14, 2] < 0).sum() < 54


def test_a_shift_stays_within_its_bound() -> None:
    x = -torch.ones(256, 1, 29, 29)
    x[:, :, 14, 14] = 1.0
    moved = augment(x, Augmentation(2.0, 0, 0, 0, 0), torch.Generator().manual_seed(1))
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
