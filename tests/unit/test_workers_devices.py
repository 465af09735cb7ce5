"""Devices by name, and what a process pinned to one sees."""

from __future__ import annotations

import pytest

from workers import devices


def test_numbers_and_names_are_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.expand("cpu") == ["cpu"]
    assert devices.expand("0,1, 1") == ["cuda:0", "cuda:1"]
    assert devices.expand("cuda:3") == ["cuda:3"]


def test_auto_is_every_visible_gpu_else_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert devices.expand("auto") == ["cuda:0", "cuda:1"]
    assert devices.environment("cuda:1", {"CUDA_VISIBLE_DEVICES": "2,5"})["CUDA_VISIBLE_DEVICES"] == "5"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.expand("auto") == ["cpu"]


@pytest.mark.parametrize("text", ["gpu", "", "0,x", "-1"])
def test_anything_else_is_refused_with_the_choices(text: str) -> None:
    with pytest.raises(ValueError, match="auto, cpu or a list"):
        devices.expand(text)


def test_a_pinned_process_sees_its_device_alone() -> None:
    assert devices.environment("cuda:1", {})["CUDA_VISIBLE_DEVICES"] == "1"
    assert devices.environment("cpu", {"CUDA_VISIBLE_DEVICES": "0"})["CUDA_VISIBLE_DEVICES"] == ""
    assert devices.inside("cuda:1") == "cuda:0"
    assert devices.inside("cpu") == "cpu"
