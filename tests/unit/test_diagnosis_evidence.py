"""Evidence maps against another program (Captum) and against arithmetic."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.diagnosis.evidence import evidence, log_odds
from models.diagnosis.networks import build


class Linear(nn.Module):
    """A tail whose log odds are the mean over cells of the first channel less twice that of the second."""

    def tail(self, activation: Tensor) -> tuple[Tensor, Tensor]:
        cells = activation.mean(dim=(2, 3))
        score = cells[:, 0] - 2 * cells[:, 1]
        return cells, torch.stack([torch.zeros_like(score), score], dim=1)


def test_log_odds_of_two_classes_is_the_difference_of_logits() -> None:
    assert log_odds(torch.tensor([[1.0, 4.0]]), 1).tolist() == [3.0]
    assert log_odds(torch.tensor([[1.0, 4.0]]), 0).tolist() == [-3.0]


def test_given_a_linear_tail_then_each_cell_holds_its_share_of_the_log_odds() -> None:
    activation, reference = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    activation[0, 0, 0, 0] = 8.0
    activation[0, 1, 1, 1] = 2.0
    reference[0, 0, 0, 0] = 4.0
    made = evidence(Linear(), activation, 1, reference)  # type: ignore[arg-type]
    # (8 - 4) x 1/4 for the first channel; 2 x -2/4 for the second: against the finding.
    assert made.tolist() == [[[1.0, 0.0], [0.0, -1.0]]]


def test_the_map_sums_to_the_change_of_the_log_odds_where_the_tail_is_linear() -> None:
    random = torch.Generator().manual_seed(0)
    activation = torch.randn(5, 2, 7, 7, generator=random)
    reference = torch.randn(1, 2, 7, 7, generator=random)
    tail = Linear()
    change = log_odds(tail.tail(activation)[1], 1) - log_odds(tail.tail(reference)[1], 1)
    made = evidence(tail, activation, 1, reference)  # type: ignore[arg-type]
    assert torch.allclose(made.sum(dim=(1, 2)), change, atol=1e-5)


class Square(nn.Module):
    """A tail whose log odds are the square of the mean over cells."""

    def tail(self, activation: Tensor) -> tuple[Tensor, Tensor]:
        cells = activation.mean(dim=(2, 3))
        return cells, torch.stack([torch.zeros(len(cells)), cells[:, 0] ** 2], dim=1)


def test_the_gradient_half_way_makes_it_exact_for_a_curved_tail_too() -> None:
    activation, reference = torch.full((1, 1, 2, 2), 3.0), torch.full((1, 1, 2, 2), 1.0)
    made = evidence(Square(), activation, 1, reference)  # type: ignore[arg-type]
    # 3 x 3 - 1 x 1 = 8, in four equal cells; the gradient at the image itself would give 12, at the reference 4.
    assert made.flatten().tolist() == pytest.approx([2.0, 2.0, 2.0, 2.0])


def test_plain_grad_cam_equals_captums() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum's imports warn of their own dependencies.
        attr = pytest.importorskip("captum.attr")
    torch.manual_seed(3)
    network = build("resnet18", 2, {"width": 8}).eval()
    x = torch.randn(4, 1, 28, 28)
    with torch.no_grad():
        activation = network.trunk(x)
    ours = evidence(network, activation, 1, None).numpy()
    odds = attr.LayerGradCam(lambda images: log_odds(network(images), 1), network.stage3)
    theirs = odds.attribute(x, relu_attributions=True)[:, 0].detach().numpy()
    assert np.allclose(ours, theirs, atol=1e-5)
    assert ours.max() > 0


def test_an_images_map_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    torch.manual_seed(1)
    network = build("resnet18", 2, {"width": 8}).eval()
    with torch.no_grad():
        activation = network.trunk(torch.randn(6, 1, 28, 28))
    reference = activation.mean(dim=0, keepdim=True)
    together = evidence(network, activation, 1, reference)
    alone = evidence(network, activation[2:3], 1, reference)
    assert torch.allclose(together[2:3], alone, atol=1e-5)
