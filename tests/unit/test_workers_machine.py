"""What provenance says of the machine."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from workers import machine


def fake_torch(threads: int = 3) -> SimpleNamespace:
    """As much of torch as is asked."""
    return SimpleNamespace(
        __version__="2.13.0+cu130",
        get_num_threads=lambda: threads,
        backends=SimpleNamespace(cpu=SimpleNamespace(get_cpu_capability=lambda: "AVX2")),
        cuda=SimpleNamespace(is_available=lambda: True, get_device_name=lambda device: f"NVIDIA H200 {device}"),
    )


def test_a_kind_without_torch_is_told_the_same_whatever_else_the_worker_has_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    before = machine.facts({"device": "cpu", "libraries": {"polars": "1.30"}})
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    assert machine.facts({"device": "cpu", "libraries": {"polars": "1.30"}}) == before
    assert before["libraries"] == {"numpy": np.__version__, "polars": "1.30"}


def test_torch_tells_threads_and_instruction_set_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    found = machine.facts({})
    assert (found["device"], found["threads"], found["instruction_set"]) == ("cpu", 3, "AVX2")
    assert found["libraries"]["torch"] == "2.13.0+cu130"
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    assert names[0].endswith(found["device_name"])


def test_on_a_gpu_its_name_stands_and_no_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    found = machine.facts({"device": "cuda:0", "libraries": {"torch": "x"}})
    assert (found["device_name"], found["instruction_set"]) == ("NVIDIA H200 cuda:0", None)


def test_what_the_kind_says_of_itself_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    found = machine.facts(
        {"threads": 1, "instruction_set": "AVX512", "libraries": {"torch": "mine"}, "precision": "bf16"}
    )
    assert (found["threads"], found["instruction_set"], found["precision"]) == (1, "AVX512", "bf16")
    assert found["libraries"]["torch"] == "mine"
