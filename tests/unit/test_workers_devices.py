"""Devices by name, and what a process pinned to one sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers import devices
from workers.__main__ import main


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
    assert devices.inside("cuda:1") == ("cuda:0",)
    assert devices.inside("cpu") == ("cpu",)


def test_a_process_may_be_pinned_to_several_devices() -> None:
    base = {"CUDA_VISIBLE_DEVICES": "4,GPU-5,6"}
    assert devices.environment("cuda:0,cuda:2", base)["CUDA_VISIBLE_DEVICES"] == "4,6"
    assert devices.environment("cuda:0,cuda:2", {})["CUDA_VISIBLE_DEVICES"] == "0,2"
    assert devices.inside("cuda:1,cuda:2") == ("cuda:0", "cuda:1")


@pytest.mark.parametrize(("pool", "expected"), [("inference", ["cuda:0", "cuda:1"]), ("long", ["cuda:0,cuda:1"])])
def test_one_inference_worker_for_each_device_and_one_long_worker_for_all(
    pool: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    class Noted:
        def __init__(self, settings: object, pool: str, devices: list[str]) -> None:
            started.append(devices)

        def run(self) -> int:
            return 0

    monkeypatch.setattr("workers.supervisor.Supervisor", Noted)
    monkeypatch.setattr("workers.__main__.set_up_logging", lambda: None)
    monkeypatch.setattr("workers.__main__.clean_path", lambda: None)
    monkeypatch.setenv("MEDJOBS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["--pool", pool, "--devices", "0,1"]) == 0
    assert started == [expected]
