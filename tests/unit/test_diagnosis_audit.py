"""The audit of evidence maps on a network whose answer is known: it looks at one pixel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.diagnosis import audit
from models.diagnosis.networks import ResNet18

SIDE = 8


def one_hot(count: int, row: int, column: int) -> Tensor:
    maps = torch.zeros(count, SIDE, SIDE)
    maps[:, row, column] = 1
    return maps


def score(images: Tensor) -> np.ndarray:
    """The log odds are ten times the pixel at row 2, column 5."""
    return (10 * images[:, 0, 2, 5]).double().numpy()


def test_given_a_share_when_hidden_then_the_highest_pixels_of_the_map_become_the_reference() -> None:
    images = torch.ones(2, 1, SIDE, SIDE)

    gone = audit.hidden(images, one_hot(2, 2, 5), 1 / 64, torch.zeros(1, 1, SIDE, SIDE))
    alone = audit.hidden(images, one_hot(2, 2, 5), 1 / 64, torch.zeros(1, 1, SIDE, SIDE), keep=True)

    assert gone[:, 0, 2, 5].tolist() == [0, 0]
    assert gone.sum() == 2 * 63
    assert alone[:, 0, 2, 5].tolist() == [1, 1]
    assert alone.sum() == 2


def test_given_the_true_map_when_pixels_are_deleted_then_the_log_odds_fall_earlier_than_with_a_false_one() -> None:
    images, calm = torch.ones(4, 1, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE)

    true = audit.area(score, images, one_hot(4, 2, 5), calm, keep=False)
    last = audit.area(score, images, -one_hot(4, 2, 5), calm, keep=False)

    # Ten steps of eleven hide the pixel if it stands first; only the last one does if it stands last.
    assert np.allclose(true, 10 / 11)
    assert np.allclose(last, 100 / 11)
    assert audit.paired(last, true)["low"] > 0


def test_given_equal_maps_when_compared_then_their_gain_includes_zero() -> None:
    gain = audit.paired(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))

    assert gain == {"gain": 0.0, "low": 0.0, "high": 0.0}


def test_given_maps_when_ranked_then_equal_ones_correlate_by_1_and_opposite_ones_by_minus_1() -> None:
    maps = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))

    assert abs(audit.rank_correlation(maps, maps) - 1) < 1e-9
    assert abs(audit.rank_correlation(maps, -maps) + 1) < 1e-9


def test_given_planted_discs_when_a_map_peaks_there_then_it_hits_and_elsewhere_not() -> None:
    centres = torch.tensor([[2.0, 5.0], [2.0, 5.0]])
    maps = torch.cat([one_hot(1, 2, 5), one_hot(1, 7, 0)])

    assert audit.hits(maps, centres).tolist() == [1.0, 0.0]


def test_given_normal_images_when_discs_are_planted_then_each_is_brightest_at_its_centre_and_off_the_edge() -> None:
    planted, centres = audit.plant(torch.full((20, 1, 28, 28), -0.5))

    peaks = planted.flatten(1).argmax(dim=1)
    assert ((torch.stack([peaks // 28, peaks % 28], dim=1) - centres).norm(dim=1) < 1).all()
    assert (centres >= audit.RADIUS).all()
    assert (centres <= 27 - audit.RADIUS).all()


def test_given_a_map_that_ignores_the_weights_when_layers_are_randomised_then_the_cascade_test_fails_it() -> None:
    torch.manual_seed(0)
    network, images = ResNet18(2, width=4).eval(), torch.randn(6, 1, 28, 28)

    def edges(_: object, x: Tensor) -> Tensor:
        return x[:, 0]

    def learnt(of: ResNet18, x: Tensor) -> Tensor:
        with torch.no_grad():
            return of.trunk(x)[:, 0]

    assert audit.cascade(network, edges, images)["stem"] == 1.0
    assert abs(audit.cascade(network, learnt, images)["stem"]) < 0.7


def test_given_a_random_map_when_audited_then_it_does_not_pass() -> None:
    torch.manual_seed(0)
    network, images = ResNet18(2, width=4).eval(), torch.rand(24, 1, 28, 28) * 0.2

    def log_odds(x: Tensor) -> np.ndarray:
        return (10 * x[:, 0].mean(dim=(1, 2))).double().numpy()

    report = audit.audit(
        network, lambda _, x: audit.random_map(len(x), 28, 9), log_odds, images, images, torch.zeros(1, 1, 28, 28)
    )

    assert not report["passed"]
    assert not report["tests"]["insertion"]


def test_given_a_network_when_layers_are_randomised_then_each_goes_in_its_turn_from_the_output_down() -> None:
    torch.manual_seed(0)
    network, images = ResNet18(2, width=4).eval(), torch.randn(6, 1, 28, 28)
    seen: list[tuple[Tensor, Tensor]] = []

    def watching(of: ResNet18, x: Tensor) -> Tensor:
        seen.append((of.head.weight.detach().clone(), of.stem.weight.detach().clone()))
        return x[:, 0]

    audit.cascade(network, watching, images)

    trained, first, last = seen[0], seen[1], seen[-1]
    assert not torch.equal(first[0], trained[0])
    assert torch.equal(first[1], trained[1])
    assert not torch.equal(last[1], trained[1])
    assert torch.equal(network.stem.weight, trained[1])
