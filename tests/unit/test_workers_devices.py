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
    with pytest.raises(ValueError, match=r"'2,5'.*no number 2"):
        devices.expand("1,2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.expand("auto") == ["cpu"]
    with pytest.raises(ValueError, match="no number 0"):
        devices.expand("0")


LISTED = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-5d5ba0d6-7bb5-4dc3-9b1b-0dd0e5b1a0a1)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
  MIG 1g.5gb      Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 3g.20gb     Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 2: Tesla T4 (UUID: GPU-aaaaaaaa-0000-1111-2222-333344445555)
"""
"""The form of `nvidia-smi -L`, after NVIDIA's MIG user guide: a GPU that is cut between two whole ones."""


def nvidia_smi(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that lists `text`."""
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_auto_takes_each_slice_of_a_gpu_that_is_cut_and_each_whole_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a driver that lists two slices on GPU 1, then four processes start, none of them on GPU 1 as a whole."""
    nvidia_smi(tmp_path, LISTED, monkeypatch)
    slices = ["MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb"]
    assert devices.expand("auto") == ["cuda:0", *slices, "cuda:2"]
    assert devices.environment(slices[1], {})["CUDA_VISIBLE_DEVICES"] == slices[1]
    assert devices.inside(slices[1]) == ("cuda:0",)


@pytest.mark.parametrize("text", ["No devices found.\n", ""])
def test_auto_is_the_processor_where_the_driver_lists_nothing(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(tmp_path, text, monkeypatch)
    assert devices.expand("auto") == ["cpu"]


def test_the_processor_may_run_several_processes_and_uuids_are_devices() -> None:
    assert devices.expand("cpu:3") == ["cpu", "cpu", "cpu"]
    assert devices.expand("cpu,cpu") == ["cpu", "cpu"]
    assert devices.expand("0,GPU-1f2e,MIG-GPU-1f2e/1/0,cpu:2") == [
        "cuda:0", "GPU-1f2e", "MIG-GPU-1f2e/1/0", "cpu", "cpu",
    ]  # fmt: skip
    assert devices.environment("GPU-1f2e", {"CUDA_VISIBLE_DEVICES": "7"})["CUDA_VISIBLE_DEVICES"] == "GPU-1f2e"


@pytest.mark.parametrize("text", ["gpu", "", "0,x", "-1", "cpu:0", "cpu:65", "GPU-", "MIG-a b", "0,GPU-1;rm"])
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


def test_long_workers_share_whole_gpus_and_have_a_slice_each() -> None:
    found = ["cuda:0", "MIG-a", "MIG-b", "cuda:2", "cpu"]
    assert devices.grouped(found) == ["cuda:0,cuda:2", "MIG-a", "MIG-b", "cpu"]


@pytest.mark.parametrize(("pool", "expected"), [("inference", ["cuda:0", "cuda:1"]), ("long", ["cuda:0,cuda:1"])])
def test_one_inference_worker_for_each_device_and_one_long_worker_for_all(
    pool: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    class Noted:
        def __init__(self, settings: object, pool: str, devices: list[str], metrics: str) -> None:
            started.append(devices)

        def run(self) -> int:
            return 0

    monkeypatch.setattr("workers.supervisor.Supervisor", Noted)
    monkeypatch.setattr("workers.__main__.set_up_logging", lambda settings: None)
    monkeypatch.setattr("workers.__main__.clean_path", lambda: None)
    monkeypatch.setenv("MEDJOBS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["--pool", pool, "--devices", "0,1"]) == 0
    assert started == [expected]
