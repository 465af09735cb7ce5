"""The recurrent networks: filled values by hand, a plain loop beside GRU-D, and what may not change an answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.prediction.encoding import Batch, Encoder
from models.prediction.networks import GruD, LstmBasic, SurvivalGru, build, filled, pieces
from tests.sequence_sets import binary_set, survival_set

torch.set_num_threads(1)

CONFIG = {"variables": 3, "statics": 2, "bins": 8, "hidden": 5}


@pytest.fixture(scope="module")
def batch() -> Batch:
    data = binary_set(20)
    return Encoder.fit(data, np.arange(20), 48.0, 8).encode_set(data, np.arange(20))


@pytest.fixture(scope="module")
def visits() -> Batch:
    data = survival_set(20)
    return Encoder.fit(data, np.arange(20), None, 6).encode_set(data, np.arange(20))


def test_the_last_value_is_carried_and_the_gap_counted_by_hand() -> None:
    value = torch.tensor([[[0.0], [2.0], [0.0], [0.0], [5.0], [0.0]]])
    mask = torch.tensor([[[0.0], [1.0], [0.0], [0.0], [1.0], [0.0]]])
    last, gap = filled(value, mask)
    assert last.flatten().tolist() == [0, 2, 2, 2, 5, 5]
    assert gap.flatten().tolist() == [0, 1, 1, 2, 3, 1]


def test_pieces_are_zero_at_the_mean_and_add_up_to_the_value_between_the_knots() -> None:
    found = pieces(torch.tensor([[0.0], [-2.0], [2.0]]))
    assert found[0].tolist() == [0.0] * 6
    for row in (1, 2):
        assert float(found[row, 1:].sum()) == pytest.approx(float(found[row, 0]))


def test_gru_d_is_the_paper_s_recurrence(batch: Batch) -> None:
    """Given the formulas of Che et al. 2018 written as a plain loop over patients and bins, then the logits agree."""
    torch.manual_seed(0)
    network = GruD(**CONFIG).eval()
    with torch.no_grad():
        network.input_decay.uniform_(-1, 1)
        network.hidden_decay.weight.uniform_(-1, 1)
        found = network(batch)
        for patient in range(4):
            assert float(found[patient]) == pytest.approx(_by_hand(network, batch.take([patient])), abs=1e-5)


def _by_hand(network: GruD, one: Batch) -> float:
    static = torch.cat([pieces(one.static[0]), one.known[0]])
    h = torch.tanh(network.start(static))
    last, since, states = torch.zeros(3), torch.zeros(3), []
    for step in range(8):
        m, x = one.mask[0, step], one.value[0, step]
        delta = since * 2 / 8
        last = m * x + (1 - m) * last
        gamma_x = torch.exp(-torch.clamp(4 * network.input_decay[0] * delta + network.input_decay[1], min=0))
        x_hat = m * x + (1 - m) * gamma_x * last
        h = torch.exp(-torch.clamp(network.hidden_decay(delta), min=0)) * h
        drive = network.inputs(torch.cat([pieces(x_hat), m]))
        z, r = torch.sigmoid(drive[:10] + network.gates(h)).split(5)
        fresh = torch.tanh(drive[10:] + network.candidate(r * h))
        h = (1 - z) * h + z * fresh
        states.append(h)
        since = torch.where(m > 0, torch.ones(3), since + 1)
    course = torch.stack(states)
    return float(network.readout(torch.cat([h, course.mean(0), course.amax(0), static])))


@pytest.mark.parametrize("name", ["gru-d", "bilstm", "lstm-basic"])
def test_a_patient_s_logit_depends_on_no_other_patient(name: str, batch: Batch) -> None:
    network = build(name, CONFIG if name != "lstm-basic" else {"variables": 3, "statics": 2}).eval()
    with torch.no_grad():
        assert torch.allclose(network(batch)[3:5], network(batch.take([3, 4])), atol=1e-6)


@pytest.mark.parametrize("name", ["gru-d", "bilstm"])
def test_only_measured_values_and_static_ones_have_a_gradient(name: str, batch: Batch) -> None:
    network = build(name, CONFIG).eval()
    value = batch.value.clone().requires_grad_()
    network(replace(batch, value=value)).sum().backward()
    assert value.grad is not None
    assert float(value.grad[batch.mask == 0].abs().max()) == 0
    assert float(value.grad[batch.mask > 0].abs().min()) > 0


def test_lstm_basic_is_as_the_name_says() -> None:
    network = LstmBasic(3, 2)
    assert network.lstm.hidden_size == 64
    assert network.dense.out_features == 1
    assert sum(p.numel() for p in network.parameters()) == 4 * 64 * (5 + 64 + 2) + 65


def test_later_visits_and_padding_change_no_hazard_before_them(visits: Batch) -> None:
    """Given a batch cut after its second visit, then the hazards after the first two are what they were."""
    torch.manual_seed(0)
    network = SurvivalGru(3, 2, intervals=4, span=8.0, hidden=5, dropout=0.3).eval()
    torch.nn.init.normal_(network.linear.weight)
    assert network.readout is not None
    torch.nn.init.normal_(network.readout.weight)
    with torch.no_grad():
        assert torch.allclose(network(visits)[:, :2], network(visits.until(2)), atol=1e-6)
        assert network(visits).shape == (20, visits.time.shape[1], 4)


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(ValueError, match="choose one of bilstm, gru-d"):
        build("transformer", {})
