"""Quality on the frozen classifier's features, and usefulness by a quick one, on images of few pixels and real ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.data.canonical import TRAIN
from models.data.formats import medmnist
from models.data.options import MedmnistOptions
from models.synthesis import encoder as encoders
from models.synthesis.encoder import Encoder
from models.synthesis.part import Part
from models.synthesis.quality import halves, quality, shared_counts
from models.synthesis.usefulness import compared, predicted, trained, usefulness
from tests.diagnosis_data import bright_or_dark


def published(test_data: Path) -> Part:
    """The training part of PneumoniaMNIST."""
    data = medmnist.read([test_data / "imaging" / "pneumoniamnist.npz"], MedmnistOptions())
    rows = data.part(TRAIN)
    return Part(data.images[rows], data.labels[rows])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return encoders.shipped()


@pytest.fixture(scope="module")
def real(test_data: Path) -> Part:
    """400 real training images, a quarter of them normal."""
    train = published(test_data)
    chosen = [np.flatnonzero(train.labels == label)[:count] for label, count in ((0, 100), (1, 300))]
    return train.take(np.concatenate(chosen))


def squares(count: int, seed: int, gain: float = 1.0) -> Part:
    """Images that are bright in the middle (class 1) or not, as tests.diagnosis_data makes them."""
    made = bright_or_dark(train=count, validation=2, test=2, side=16)
    noise = np.random.default_rng(seed).integers(0, 90, made.images.shape, dtype=np.uint8)
    bright = (made.images > 119) & (made.labels == 1)[:, None, None]
    images = np.where(bright, noise + np.uint8(120 * gain), noise).astype(np.uint8)
    return Part(images[:count], made.labels[:count])


def test_features_are_named_after_the_classifier_and_of_any_size(encoder: Encoder) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    found = encoder.features(images)
    assert encoder.name == "penultimate layer of chest-pneumonia@1"
    assert found.shape == (3, 256)
    enlarged = np.kron(images, np.ones((1, 2, 2), np.uint8))
    assert encoder.features(enlarged).shape == (3, 256)


def test_features_give_the_classifiers_own_answer(encoder: Encoder, real: Part) -> None:
    """The penultimate layer is what its last layer reads: head(features) are the logits."""
    with torch.no_grad():
        head = encoder.network.head(torch.from_numpy(encoder.features(real.images[:8])).float())
        whole = encoder.network(torch.from_numpy(real.images[:8]).unsqueeze(1).float() / 127.5 - 1)
    assert torch.allclose(head, whole, atol=1e-4)


def test_halves_share_nothing_and_split_every_class() -> None:
    labels = np.array([0] * 7 + [1] * 10)
    first, second = halves(labels, 0)
    assert sorted([*first, *second]) == list(range(17))
    assert np.bincount(labels[first]).tolist() == [3, 5]
    assert np.bincount(labels[second]).tolist() == [4, 5]
    assert not np.array_equal(first, halves(labels, 1)[0])


def test_the_scarcest_class_decides_how_many_are_taken() -> None:
    assert shared_counts(np.repeat([0, 1], (5, 100)), np.repeat([0, 1], (10, 30))) == {0: 5, 1: 15}
    assert shared_counts(np.repeat([0, 1], (50, 100)), np.repeat([0, 1], (10, 30))) == {0: 10, 1: 30}


def test_real_images_as_generated_ones_are_at_the_floor(encoder: Encoder, test_data: Path, real: Part) -> None:
    train = published(test_data)
    unseen = [np.flatnonzero(train.labels == label)[-count:] for label, count in ((0, 60), (1, 180))]
    found = quality(train.take(np.concatenate(unseen)), real, encoder)
    assert found.generated.n == found.floor.n == 200
    assert found.generated.coverage.coverage == pytest.approx(found.floor.coverage.coverage, abs=0.06)
    assert found.generated.radiomic < 2 * found.floor.radiomic
    assert found.generated.kid.value < found.floor.kid.value + 3 * found.floor.kid.spread


def test_noise_is_far_above_the_floor_in_every_figure(encoder: Encoder, real: Part) -> None:
    noise = np.random.default_rng(0).integers(0, 256, real.images.shape, dtype=np.uint8)
    found = quality(Part(noise, real.labels), real, encoder)
    assert found.generated.coverage.coverage < 0.1
    assert found.generated.radiomic > 100 * found.floor.radiomic
    assert found.generated.kid.value > 10 * found.floor.kid.value + 3 * found.floor.kid.spread


def test_unseen_images_that_are_blurred_lie_between_noise_and_real(
    encoder: Encoder, test_data: Path, real: Part
) -> None:
    """Each pixel becomes the mean of itself and three neighbours: still a chest, but a texture that no chest has."""
    train = published(test_data)
    unseen = train.take(np.concatenate([np.flatnonzero(train.labels == n)[-c:] for n, c in ((0, 60), (1, 180))]))
    moved = [np.roll(unseen.images.astype(float), shift, axis=(1, 2)) for shift in ((0, 0), (0, 1), (1, 0), (1, 1))]
    found = quality(replace(unseen, images=np.mean(moved, axis=0).astype(np.uint8)), real, encoder)
    assert 0.1 < found.generated.coverage.coverage < 0.9 * found.floor.coverage.coverage
    assert found.generated.radiomic > 3 * found.floor.radiomic
    assert set(found.generated.classes) == {0, 1}


def test_too_few_images_of_a_class_are_refused(encoder: Encoder, real: Part) -> None:
    scarce = real.take(np.flatnonzero(real.labels == 1))
    with pytest.raises(ValueError, match="needs 20 generated and 40 real"):
        quality(scarce, real, encoder)


def test_images_as_good_as_real_ones_lose_nothing_and_inverted_labels_all() -> None:
    real, other, test = squares(128, 1), squares(128, 2), squares(64, 3)
    good = usefulness(other, real, test, seeds=(0, 1), epochs=5)
    assert good.trtr.value > 0.95
    assert good.drop.value < 0.05
    assert [seed for seed, _, _ in good.seeds] == [0, 1]
    wrong = usefulness(replace(other, labels=1 - other.labels), real, test, seeds=(0,), epochs=5)
    assert wrong.tstr.value < 0.05
    assert wrong.drop.low > 0.8


def test_equal_seeds_train_equal_classifiers_whatever_torch_drew_before() -> None:
    part = squares(64, 1)
    first = predicted(trained(part, 1, 3, seed=4), part)
    torch.rand(5)
    assert np.array_equal(first, predicted(trained(part, 1, 3, seed=4), part))
    assert not np.array_equal(first, predicted(trained(part, 1, 3, seed=5), part))


def test_training_stops_where_the_step_says_so() -> None:
    class Enough(Exception):
        pass

    def step() -> None:
        raise Enough

    with pytest.raises(Enough):
        usefulness(squares(64, 1), squares(64, 2), squares(64, 3), step=step)


def test_the_drop_is_paired_over_the_same_test_images() -> None:
    """Equal answers: no gap at all, though either area has a wide interval."""
    random = np.random.default_rng(0)
    y = (random.random(80) < 0.5).astype(np.float64)
    p = random.random(80) + 0.5 * y
    own, same, gap = compared(y, [(p, p.copy())])
    assert own == same
    assert own.high - own.low > 0.1
    assert (gap.value, gap.low, gap.high) == (0, 0, 0)
