"""How much of its device a worker may fill, found without torch."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from jobs.errors import OutOfMemory
from jobs.needs import GIB, served
from tests.unit.test_workers_devices import LISTED, nvidia_smi
from workers import memory, room

SMALL, LARGE = "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb"


@pytest.mark.parametrize(
    ("visible", "gigabytes"), [(SMALL, 5), (LARGE, 20), (f"{LARGE},{SMALL}", 5), ("MIG-unknown", None)]
)
def test_a_slice_is_as_large_as_its_profile_says(visible: str, gigabytes: int | None) -> None:
    assert memory.of_slices(LISTED, visible) == (None if gigabytes is None else gigabytes * 10**9)


def test_a_worker_on_a_slice_serves_the_classes_of_the_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a slice of 20 GB, then its worker takes jobs for cards of 16 GiB; lowered to 8 GiB, no more than those."""
    nvidia_smi(tmp_path, LISTED, monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", LARGE)
    assert served(LARGE, memory.limit(LARGE, 0)) == ["gpu-16", "gpu-8", "gpu", "any"]
    assert served(LARGE, memory.limit(LARGE, 8 * GIB)) == ["gpu-8", "gpu", "any"]


def test_the_processor_has_the_hosts_memory_or_what_its_container_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CGROUP", bound)
    assert memory.limit("cpu", 0) == psutil.virtual_memory().total
    bound.write_text("max\n")
    assert memory.limit("cpu", 0) == psutil.virtual_memory().total
    bound.write_text("1000000\n")
    assert memory.limit("cpu", 0) == 1_000_000
    assert memory.limit("cpu", 5000) == 5000


def test_a_gauge_sees_what_a_process_takes_and_gives_back() -> None:
    """Given 64 MiB that are touched and let go, then the gauge sees most of both."""
    gauge = memory.Gauge("cpu")
    before = gauge.start()
    taken = bytearray(64 << 20)
    assert gauge.grown(before) > 50 << 20
    del taken
    gauge.free()
    assert gauge.taken() - before < 20 << 20


def test_a_gauge_of_a_gpu_counts_nothing_while_torch_is_being_imported_or_has_not_used_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given torch half imported by another thread, then whole but without CUDA in use, then a load may look."""
    gauge = memory.Gauge("cuda:0")
    for torch in (
        ModuleType("torch"),
        SimpleNamespace(cuda=ModuleType("torch.cuda")),
        importlib.import_module("torch"),
    ):
        monkeypatch.setitem(sys.modules, "torch", torch)
        assert gauge.start() == gauge.taken() == gauge.grown(0) == 0
        gauge.free()


class NoDevice:
    """A gauge of a device that has nothing to free."""

    def free(self) -> None:
        raise AssertionError("nothing was evicted")


def test_a_load_gives_up_in_time_however_often_others_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a model that is always in use, then the jobs of another wait for room so long and no longer."""
    monkeypatch.setattr(room, "WAIT_S", 0.3)
    full, ended = room.Room(NoDevice(), 100), threading.Event()  # type: ignore[arg-type]

    def come_and_go() -> None:
        while not ended.wait(0.02):
            full.changed()

    busy = threading.Thread(target=come_and_go)
    busy.start()
    began = time.monotonic()
    try:
        with pytest.raises(OutOfMemory, match="models in use"):
            full.admit(60, lambda: 60, lambda: False)
    finally:
        ended.set()
        busy.join()
    assert 0.3 <= time.monotonic() - began < 30
