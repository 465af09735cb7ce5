"""Distances of samples, against values worked out by hand and against other programs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, spatial, stats

from models.synthesis.coverage import coverage, expected
from models.synthesis.frechet import frechet
from models.synthesis.interval import Interval
from models.synthesis.kid import kid, mmd2
from models.synthesis.neighbours import distances, nearest, radii
from models.synthesis.radiomics import LEVELS, NAMES, cooccurrence, radiomics

Floats = np.typing.NDArray[np.float64]


def normal(count: int, width: int, seed: int, shift: float = 0.0) -> Floats:
    return np.random.default_rng(seed).normal(shift, 1, (count, width))


def test_an_interval_leaves_out_resamples_without_a_value() -> None:
    found = Interval.of(0.5, np.array([0.0, 1.0, np.nan]))
    assert (found.value, found.low, found.high) == (0.5, 0.025, 0.975)
    assert Interval.of(0.7, np.array([np.nan])) == Interval(0.7, 0.7, 0.7)


def test_distances_are_those_of_scipy() -> None:
    a, b = normal(700, 6, 0), normal(60, 6, 1)
    assert np.allclose(distances(a, b), spatial.distance.cdist(a, b))
    tree = spatial.cKDTree(b)
    assert np.allclose(nearest(a, b, 3), tree.query(a, k=3)[0][:, 2])
    assert np.allclose(radii(b, 2), tree.query(b, k=3)[0][:, 2])


def test_a_neighbour_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no neighbour number 3"):
        nearest(normal(4, 2, 0), normal(2, 2, 1), 3)


def test_the_squared_discrepancy_is_what_the_formula_gives_by_hand() -> None:
    """One feature, kernel (xy + 1)^3: within {0, 1} it is 1, within {1, 2} it is 27, across 1, 1, 8, 27."""
    a, b = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    assert mmd2(a, b) == pytest.approx(1 + 27 - 2 * (1 + 1 + 8 + 27) / 4)


def test_equal_distributions_are_at_about_nought_and_others_are_not() -> None:
    a, b, c = normal(600, 8, 0), normal(600, 8, 1), normal(600, 8, 2, shift=0.5)
    same, other = kid(a, b), kid(a, c)
    assert abs(same.value) < 0.02
    assert other.value > 0.3 > 10 * abs(same.value)
    assert same.size == 300
    assert same.spread > 0


def test_the_estimate_is_unbiased_for_small_samples() -> None:
    """A biased estimate would be above 0 in the mean: by the kernel's diagonal over n, more than 0.3 here."""
    drawn = [mmd2(normal(20, 4, 2 * seed), normal(20, 4, 2 * seed + 1)) for seed in range(400)]
    assert abs(np.mean(drawn)) < 3 * np.std(drawn) / np.sqrt(len(drawn))


def test_a_distance_of_too_few_cases_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 10 cases"):
        kid(normal(9, 2, 0), normal(50, 2, 1))


def test_a_copy_covers_all_and_what_lies_far_away_nothing() -> None:
    real = normal(100, 4, 0)
    assert coverage(real.copy(), real).coverage == 1
    away = coverage(real + 100, real)
    assert (away.coverage, away.density) == (0, 0)


def test_density_and_coverage_are_what_a_line_of_points_gives_by_hand() -> None:
    """Points 0, 1, 3 with k = 1 have the radii 1, 1, 2; a sample at 0.5 lies in the balls of 0 and 1, at 9 in none."""
    found = coverage(np.array([[0.5], [9.0]]), np.array([[0.0], [1.0], [3.0]]), k=1)
    assert found.density == pytest.approx(2 / (1 * 2))
    assert found.coverage == pytest.approx(2 / 3)


def test_one_mode_of_two_is_dense_and_covers_half() -> None:
    real = np.vstack([normal(200, 3, 0), normal(200, 3, 1, shift=20)])
    found = coverage(normal(400, 3, 2), real)
    assert 0.4 < found.coverage <= 0.5
    assert found.density > 0.9


def test_the_expected_coverage_is_met_by_equal_distributions() -> None:
    """Three real and three generated, k = 1: the nearest of five others is real with 2 / 5."""
    assert expected(3, 3, 1) == pytest.approx(3 / 5)
    drawn = [coverage(normal(60, 3, 2 * s), normal(60, 3, 2 * s + 1)).coverage for s in range(60)]
    assert np.mean(drawn) == pytest.approx(expected(60, 60), abs=0.01)


def test_the_frechet_distance_is_that_of_scipys_matrix_root() -> None:
    a, b = normal(300, 5, 0) @ np.diag([1, 2, 3, 1, 1]), normal(200, 5, 1, shift=1)
    first, second, gap = np.cov(a.T), np.cov(b.T), a.mean(axis=0) - b.mean(axis=0)
    wanted = gap @ gap + np.trace(first + second - 2 * linalg.sqrtm(first @ second).real)
    assert frechet(a, b) == pytest.approx(wanted, rel=1e-9)


def test_the_frechet_distance_of_shifted_copies_is_the_shift_squared() -> None:
    a = normal(100, 3, 0)
    assert frechet(a, a + np.array([3.0, 0, 4.0])) == pytest.approx(25)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_first_order_features_are_those_of_scipy() -> None:
    images = np.random.default_rng(0).gamma(2, 30, (3, 12, 10)).clip(0, 255).astype(np.uint8)
    found = dict(zip(NAMES, radiomics(images).T, strict=True))
    for number, image in enumerate(images):
        flat = image.ravel().astype(float)
        shares = np.bincount(image.ravel() // 16, minlength=LEVELS) / flat.size
        wanted = {
            "mean": flat.mean(), "variance": flat.var(), "skewness": stats.skew(flat), "kurtosis": stats.kurtosis(flat),
            "p10": np.percentile(flat, 10), "median": np.median(flat), "p90": np.percentile(flat, 90),
            "entropy": stats.entropy(shares, base=2), "uniformity": (shares**2).sum(),
        }  # fmt: skip
        for name, value in wanted.items():
            assert found[name][number] == pytest.approx(value), name


def test_cooccurrence_of_two_by_two_pixels_is_counted_by_hand() -> None:
    """Levels 0 1 / 0 0: to the right 0-1, 0-0; below 0-0, 1-0; diagonals 0-0 and 1-0. Each direction counts alike."""
    matrix = cooccurrence(np.array([[[0, 1], [0, 0]]]))[0]
    same = (1 / 2 + 1 / 2 + 1 + 0) / 4
    assert matrix[0, 0] == pytest.approx(same)
    assert matrix[0, 1] == matrix[1, 0] == pytest.approx((1 - same) / 2)
    assert matrix.sum() == pytest.approx(1)


def test_texture_of_a_checkerboard_is_known() -> None:
    """Beside and below every neighbour is the other grey, across a corner always the same one."""
    board = (np.indices((8, 8)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = dict(zip(NAMES, radiomics(board[None])[0], strict=True))
    assert found["contrast"] == pytest.approx(15**2 / 2)
    assert found["dissimilarity"] == pytest.approx(15 / 2)
    assert found["correlation"] == pytest.approx(0, abs=1e-9)
    assert found["angular second moment"] == pytest.approx(1 / 4)
    assert found["joint entropy"] == pytest.approx(2)


def test_an_image_of_one_grey_has_finite_features() -> None:
    found = dict(zip(NAMES, radiomics(np.full((1, 5, 5), 77, np.uint8))[0], strict=True))
    assert found["mean"] == 77
    assert found["skewness"] == found["kurtosis"] == found["entropy"] == found["contrast"] == 0
    assert found["correlation"] == found["angular second moment"] == 1
    assert radiomics(np.empty((0, 5, 5), np.uint8)).shape == (0, len(NAMES))
