"""Integrated gradients against what can be worked out by hand, and against Captum's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from models.prediction.attribution import SHARE, STEPS, TOLERANCE, Logit, integrated_gradients

torch.set_num_threads(1)


class Recurrent(nn.Module):
    """A GRU over (N, T, V) joined by statics (N, S), to one logit; seeded weights, large enough to be curved."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gru = nn.GRU(3, 8, batch_first=True)
        self.out = nn.Linear(10, 1)
        for weight in self.parameters():
            weight.data *= 2.0

    def forward(self, values: Tensor, static: Tensor) -> Tensor:
        hidden = self.gru(values)[0][:, -1]  # (N, 8)
        return self.out(torch.cat([hidden, static], 1)).squeeze(1)  # (N,)


def patients(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 6, 3, generator=generator), torch.randn(count, 2, generator=generator)


def of(network: nn.Module) -> Logit:
    def logit(rows: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        assert len(rows) == len(inputs[0])
        return network(*inputs)

    return logit


def test_a_linear_model_gives_weight_times_distance() -> None:
    """Given 2 a - 3 b + 1, then from the baseline (1, 1) the point (4, 2) gets 2 * 3 and -3 * 1."""

    def logit(_: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        return inputs[0] @ torch.tensor([2.0, -3.0]) + 1.0

    found = integrated_gradients(logit, [torch.tensor([[4.0, 2.0]])], [torch.tensor([[1.0, 1.0]])])
    torch.testing.assert_close(found.weights[0], torch.tensor([[6.0, -3.0]]))
    assert found.difference.tolist() == pytest.approx([3.0])
    assert found.error.abs().max() < 1e-5
    assert found.steps.tolist() == [STEPS[0]]


def test_they_are_captum_s_to_the_last_digits() -> None:
    """Given the same rule and number of points, then the weights are those that Captum computes."""
    network, (values, static) = Recurrent().eval(), patients(5)
    baselines = (torch.full_like(values, 0.1), torch.zeros_like(static))
    ours = integrated_gradients(of(network), (values, static), baselines, steps=(24,))
    theirs = IntegratedGradients(network).attribute((values, static), baselines, n_steps=24, method="gausslegendre")
    for own, other in zip(ours.weights, theirs, strict=True):
        torch.testing.assert_close(own, other.float(), rtol=1e-4, atol=1e-5)


def test_the_weights_add_up_and_only_those_that_need_it_take_more_steps() -> None:
    """Given one patient far along a steep path and others near the baseline, then that one takes more steps."""

    def logit(_: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        return torch.tanh(12 * (inputs[0].sum(1) - 0.3))

    values = torch.full((6, 2), 0.005)
    values[0] = 0.5
    found = integrated_gradients(logit, [values], [torch.zeros_like(values)])
    expected = torch.tanh(torch.tensor([8.4])) - torch.tanh(torch.tensor([-3.6]))
    torch.testing.assert_close(found.difference[:1].float(), expected)
    torch.testing.assert_close(found.sums, found.weights[0].double().sum(1))
    assert (found.error.abs() <= TOLERANCE + SHARE * found.difference.abs()).all()
    assert found.steps[0] > STEPS[0]
    assert set(found.steps[1:].tolist()) == {STEPS[0]}


def test_a_patient_s_weights_do_not_depend_on_the_others() -> None:
    network, (values, static) = Recurrent().eval(), patients(4)
    zeros = (torch.zeros_like(values), torch.zeros_like(static))
    together = integrated_gradients(of(network), (values, static), zeros)
    for row in range(4):
        one = slice(row, row + 1)
        alone = integrated_gradients(of(network), (values[one], static[one]), (zeros[0][one], zeros[1][one]))
        torch.testing.assert_close(alone.weights[0], together.weights[0][one], rtol=1e-4, atol=1e-5)


def test_an_input_that_the_network_does_not_read_weighs_nothing() -> None:
    def logit(_: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        return inputs[0].sum(1)

    found = integrated_gradients(logit, [torch.ones(2, 3), torch.ones(2, 4)], [torch.zeros(2, 3), torch.zeros(2, 4)])
    assert found.weights[1].abs().sum() == 0
    assert found.weights[0].tolist() == [[1.0] * 3] * 2
