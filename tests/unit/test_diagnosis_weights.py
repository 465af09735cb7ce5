"""Weights on disk: small, close to what was stored, checked by their sum, and never code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jobs.errors import ModelUnusable
from models.diagnosis.networks import build
from models.diagnosis.weights import load, pack, save, unpack


def test_a_kernel_comes_back_within_half_a_step_of_its_channel() -> None:
    kernel = torch.randn(16, 64, 3, 3, generator=torch.Generator().manual_seed(0))
    kernel[3] *= 100
    back = unpack(pack({"k": kernel}))["k"]
    step = kernel.abs().amax(dim=(1, 2, 3)) / 127
    assert ((back - kernel).abs().amax(dim=(1, 2, 3)) <= step / 2 * 1.001).all()


def test_small_tensors_counters_and_a_kernel_of_zeros_come_back_exactly() -> None:
    state = {
        "bias": torch.randn(300),
        "count": torch.tensor(7),
        "zero": torch.zeros(64, 64),
        "head": torch.randn(2, 256),
    }
    back = unpack(pack(state))
    assert set(back) == set(state)
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_a_resnet18_of_width_32_takes_less_than_three_megabytes_and_fits_again(tmp_path: Path) -> None:
    network = build("resnet18", 2, {"width": 32})
    path = tmp_path / "w.safetensors"
    digest = save(path, network.state_dict(), {"means": torch.ones(2, 3)})
    assert path.stat().st_size < 3_000_000
    state, extra = load(path, digest)
    network.load_state_dict(state)
    assert extra["means"].tolist() == [[1.0] * 3] * 2


def test_storing_twice_changes_nothing_more(tmp_path: Path) -> None:
    network = build("resnet18", 2, {"width": 8})
    first, _ = load(tmp_path / "a", save(tmp_path / "a", network.state_dict(), {}))
    second, _ = load(tmp_path / "b", save(tmp_path / "b", first, {}))
    assert all(torch.allclose(first[name].float(), second[name].float(), atol=1e-6) for name in first)


def test_a_pickle_under_the_weights_name_is_refused_by_its_sum(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    digest = save(path, {"k": torch.zeros(3)}, {})
    torch.save({"k": torch.zeros(3)}, path)
    with pytest.raises(ModelUnusable, match="sha256"):
        load(path, digest)
