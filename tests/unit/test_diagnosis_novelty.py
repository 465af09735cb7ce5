"""Distance and energy against numpy, scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import ledoit_wolf

from models.diagnosis.novelty import Familiar, energy, fit, gather, nearest


def features(count: int = 120, width: int = 6) -> tuple[torch.Tensor, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.arange(count) % 2
    mixed = random.normal(size=(count, width)) @ random.normal(size=(width, width))
    return torch.from_numpy(mixed + 3 * labels[:, None]), labels


def test_the_distance_is_the_mahalanobis_distance_under_ledoit_and_wolfs_covariance() -> None:
    x, labels = features()
    means, whiten = fit(x, labels)
    centred = x.numpy() - means.numpy()[labels]
    inverse = np.linalg.inv(ledoit_wolf(centred, assume_centered=True)[0])
    point = x[:5].float() + 1
    expected = [min(mahalanobis(row, mean, inverse) for mean in means.numpy()) for row in point.numpy()]
    assert nearest(point, means, whiten).tolist() == pytest.approx(expected, rel=1e-3)


def test_a_class_mean_has_no_distance_and_a_far_point_has_more_than_any_training_image() -> None:
    x, labels = features()
    means, whiten = fit(x, labels)
    known = Familiar(means, whiten, 1.0, 0.0)
    assert known.distances(means).tolist() == pytest.approx([0.0, 0.0], abs=1e-3)
    assert known.distances(x.float() + 100).min() > known.distances(x.float()).max()


def test_more_features_than_images_still_give_a_finite_distance() -> None:
    x = torch.randn(10, 50, generator=torch.Generator().manual_seed(0))
    means, whiten = fit(x, np.arange(10) % 2)
    assert torch.isfinite(nearest(x, means, whiten)).all()


def test_features_are_the_channel_means_of_both_stages() -> None:
    activation = torch.arange(8.0).view(1, 2, 2, 2)
    assert gather(activation, torch.tensor([[9.0]])).tolist() == [[1.5, 5.5, 9.0]]


def test_energy_by_hand() -> None:
    assert energy(torch.tensor([[0.0, 0.0]])).item() == pytest.approx(-np.log(2))
