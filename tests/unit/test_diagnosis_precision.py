"""bf16 only where it is measured to agree: a decision that it would flip keeps float32."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models.diagnosis import precision
from models.diagnosis.folding import folded
from models.diagnosis.networks import build
from models.diagnosis.precision import choose_precision, convert, shaped


class Slow(nn.Module):
    """A network whose float32 side is slow, and whose bf16 side gives `answer`."""

    def __init__(self, answer: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.answer = answer

    def forward(self, x: Tensor) -> Tensor:
        half = self.weight.dtype == torch.bfloat16
        if not half:
            torch.randn(400, 400) @ torch.randn(400, 400)
        odds = torch.full((len(x),), self.answer if half else 0.0)
        return torch.stack([torch.zeros_like(odds), odds], dim=1)


@pytest.mark.parametrize(
    ("answer", "threshold", "chosen"),
    [
        (0.0, 0.6, "bf16"),  # the same answer, faster
        (0.02, 0.6, "bf16"),  # .005 apart
        (0.02, 0.501, "fp32"),  # .005 apart, across the threshold
        (0.2, 0.6, "fp32"),  # .05 apart
    ],
)
def test_bf16_is_taken_where_probabilities_and_decisions_agree(answer: float, threshold: float, chosen: str) -> None:
    _, found = choose_precision(Slow(answer), torch.zeros(4, 1, 8, 8), "cpu", 1.0, 1, threshold)  # type: ignore[arg-type]
    assert found.name == chosen
    assert found.same_decisions is (threshold != 0.501)


def test_bf16_that_is_not_faster_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "GAIN", 0.0)
    _, found = choose_precision(Slow(0.0), torch.zeros(4, 1, 8, 8), "cpu", 1.0, 1, 0.6)  # type: ignore[arg-type]
    assert found.name == "fp32"


def test_converting_leaves_the_given_network_as_it_was() -> None:
    network = build("resnet18", 2, {"width": 4}).eval()
    half = convert(network, "bf16", "cpu")
    assert next(half.parameters()).dtype == torch.bfloat16
    assert next(network.parameters()).dtype == torch.float32
    assert half(shaped(torch.zeros(1, 1, 28, 28), "bf16", "cpu")).shape == (1, 2)


@pytest.mark.parametrize("pool", [False, True])
def test_folding_the_norms_leaves_every_output_where_it_was(pool: bool) -> None:
    torch.manual_seed(0)
    network = build("resnet18", 2, {"width": 4, "pool": pool})
    x = torch.randn(16, 1, 28, 28)
    with torch.no_grad():
        network(x)  # running statistics that are not 0 and 1
        network.eval()
        made = folded(network)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
        assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        assert torch.allclose(made(x), network(x), atol=1e-5)
        assert torch.allclose(made.trunk(x), network.trunk(x), atol=1e-5)


def test_a_network_without_norms_is_served_as_it_is() -> None:
    network = build("cnn-basic", 2)
    x = torch.randn(2, 1, 28, 28)
    assert torch.equal(folded(network)(x), network(x))
