"""The batcher and the bench: batches from what waits, blame on one item, turns for every job."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from pydantic import BaseModel

from db.records import Claim
from jobs.errors import BadAttribute, JobError, OutOfMemory
from jobs.kinds import Kind, Params
from jobs.predicting import Encoded, Source
from workers.attempt import Attempt, Unit
from workers.batcher import Batcher
from workers.bench import Bench
from workers.blame import as_job_error
from workers.placement import said, squeezed


class Recording:
    """A predictor that doubles, notes its batches, and can be told to misbehave."""

    max_batch = 4

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.poison: Any = None
        self.largest = 99
        self.gate = threading.Event()
        self.gate.set()

    def decode(self, source: Source, params: Params) -> Any:
        raise AssertionError("the batcher does not decode")

    def predict(self, batch: Sequence[Any]) -> Sequence[Any]:
        self.gate.wait(5)
        self.batches.append(list(batch))
        if len(batch) > self.largest:
            raise OutOfMemory
        if self.poison in batch:
            raise ValueError("which item it was is not said")
        return [2 * value for value in batch]

    def encode(self, decoded: Any, output: Any, position: int) -> Encoded:
        raise AssertionError("nor does it encode")

    def provenance(self) -> dict[str, Any]:
        return {}


class Desk:
    """A batcher with what comes out of it."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.predictor = Recording()
        self.bench = Bench()
        self.out: list[tuple[Unit, Any]] = []
        self.batcher = Batcher(self.predictor, self.bench, threading.Lock(), delay_s, self._done)

    def _done(self, units: Sequence[Unit], outputs: Sequence[Any], seconds: float) -> None:
        self.out += zip(units, outputs, strict=True)

    def put(self, *values: Any) -> None:
        self.batcher.expect(len(values))
        job = attempt(len(values))
        for position, value in enumerate(values):
            self.batcher.put(Unit(job, position, value))

    def outputs(self, count: int) -> list[Any]:
        deadline = time.monotonic() + 5
        while len(self.out) < count and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(self.out) == count
        return [output for _, output in self.out]


class Nothing(BaseModel):
    pass


KIND = Kind(name="k", summary="", params=Params, item=Nothing)


def attempt(items: int, job_id: str = "j") -> Attempt:
    claim = Claim(job_id, 1, "k", None, None, [], {}, 0, 60.0, 1, 1, 0, 0.0)
    made = Attempt(claim, KIND, Params())
    made.begin([Source()] * items)
    return made


def test_what_waits_goes_into_the_largest_batch() -> None:
    """Given a busy model, when ten items gather, then they go as 4, 4 and 2, and come back in order."""
    desk = Desk()
    desk.predictor.gate.clear()
    desk.put("first")
    time.sleep(0.05)
    desk.put(*range(10))
    desk.predictor.gate.set()
    assert desk.outputs(11) == ["firstfirst", *(2 * i for i in range(10))]
    assert [len(batch) for batch in desk.predictor.batches] == [1, 4, 4, 2]


def test_an_idle_model_does_not_wait() -> None:
    desk = Desk(delay_s=1.0)
    begun = time.monotonic()
    desk.put(1)
    desk.outputs(1)
    assert time.monotonic() - begun < 0.5


def test_it_waits_for_what_is_on_its_way_but_not_long() -> None:
    """Given an item that was announced and does not come, then the batch goes after the delay."""
    desk = Desk(delay_s=0.2)
    desk.batcher.expect(1)
    begun = time.monotonic()
    desk.put(1)
    desk.outputs(1)
    assert 0.15 < time.monotonic() - begun < 1.5


def test_one_item_that_breaks_a_batch_is_found() -> None:
    desk = Desk()
    desk.predictor.gate.clear()
    desk.put(0)
    time.sleep(0.05)
    desk.predictor.poison = 3
    desk.put(1, 2, 3, 4)
    desk.predictor.gate.set()
    outputs = desk.outputs(5)
    assert [output for output in outputs if not isinstance(output, JobError)] == [0, 2, 4, 8]
    assert isinstance(outputs[3], JobError)
    assert outputs[3].code == "internal-error"
    assert "which item" not in outputs[3].detail


def test_a_batch_too_large_is_halved_until_it_fits() -> None:
    desk = Desk()
    desk.predictor.largest = 1
    desk.put(1, 2, 3, 4)
    assert sorted(desk.outputs(4)) == [2, 4, 6, 8]


def test_out_of_memory_alone_is_a_temporary_error() -> None:
    desk = Desk()
    desk.predictor.largest = 0
    desk.put(1)
    (error,) = desk.outputs(1)
    assert isinstance(error, OutOfMemory)
    assert error.retryable


def test_jobs_take_turns_at_the_bench() -> None:
    """Given a job of many items before one of a single item, then the single one is second, not last."""

    class Roomy:
        def full(self) -> bool:
            return False

    bench = Bench()
    many, single = attempt(5, "many"), attempt(1, "single")
    bench.put(many, Roomy())
    bench.put(single, Roomy())
    taken = [bench.next() for _ in range(6)]
    order = [unit.attempt.id for unit in taken if isinstance(unit, Unit)]
    assert order == ["many", "single", "many", "many", "many", "many"]


def test_errands_go_before_decoding_and_a_full_model_gets_no_more() -> None:
    class Full:
        def full(self) -> bool:
            return True

    bench = Bench()
    bench.put(attempt(1), Full())
    said: list[str] = []
    bench.run_soon(lambda: said.append("errand"))
    errand = bench.next()
    assert callable(errand)
    bench.close()
    assert bench.next() is None


def test_an_attempt_ends_once_and_settles_each_item_once() -> None:
    job = attempt(2)
    assert not job.settle(0, {"a": 1})
    assert not job.settle(0, BadAttribute())
    assert job.settle(1, BadAttribute())
    assert job.items[0] == {"a": 1}
    assert job.finish()
    assert not job.finish()


class Crowded(Recording):
    """A model whose device holds `largest` items at once, as torch tells it."""

    def predict(self, batch: Sequence[Any]) -> Sequence[Any]:
        self.gate.wait(5)
        self.batches.append(list(batch))
        if len(batch) > self.largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return [2 * value for value in batch]


class Helper:
    """What can be done for it, and what was asked."""

    def __init__(self, others: int = 0, cpu: Recording | None = None) -> None:
        self.others, self.cpu = others, cpu
        self.freed = 0

    def free(self) -> None:
        self.freed += 1

    def evict(self) -> bool:
        gone, self.others = self.others > 0, 0
        return gone

    def elsewhere(self) -> Recording | None:
        return self.cpu


def crowded(largest: int, helper: Helper) -> tuple[Desk, Recording]:
    """A desk whose model has memory for so many items."""
    desk = Desk()
    model = Crowded()
    model.largest = largest
    desk.predictor = model
    desk.batcher = Batcher(model, desk.bench, threading.Lock(), 0.0, desk._done)
    desk.batcher.relief = helper
    return desk, model


def test_batches_stay_as_small_as_memory_makes_them_and_grow_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given memory for two of four, then one batch is cut in two, those after it are of two, the cache was freed, and
    the jobs say so; and once memory is back, batches are of four again."""
    monkeypatch.setattr("workers.batcher.GROWS_AFTER", 3)
    helper = Helper()
    desk, model = crowded(2, helper)
    model.gate.clear()
    desk.put(0)
    time.sleep(0.05)
    desk.put(*range(8))
    model.gate.set()
    assert desk.outputs(9) == [0, *(2 * value for value in range(8))]
    assert [len(batch) for batch in model.batches] == [1, 4, 2, 2, 2, 2]
    assert helper.freed == 1
    assert {unit.attempt.batch_size for unit, _ in desk.out[1:5]} == {2}
    model.largest = 99
    model.gate.clear()
    desk.put(*range(9))
    model.gate.set()
    desk.outputs(18)
    assert max(len(batch) for batch in model.batches[6:]) == 4


def test_an_item_that_found_no_memory_alone_is_tried_again_without_the_idle_models() -> None:
    class Clearing(Helper):
        def evict(self) -> bool:
            model.largest = 1
            return super().evict()

    helper = Clearing(others=1)
    desk, model = crowded(0, helper)
    desk.put(7)
    assert desk.outputs(1) == [14]
    assert len(model.batches) == 2
    assert desk.out[0][0].attempt.cpu_items == 0


def test_an_item_that_fits_on_no_device_runs_on_the_processor_where_that_is_allowed() -> None:
    cpu = Recording()
    desk, _ = crowded(0, Helper(cpu=cpu))
    desk.put(7)
    assert desk.outputs(1) == [14]
    assert cpu.batches == [[7]]
    job = desk.out[0][0].attempt
    assert (job.batch_size, job.cpu_items) == (1, 1)
    assert squeezed(job) == {"out_of_memory": {"batch_size": 1, "cpu_items": 1}}
    assert said(job) == [
        "The device ran out of memory; the smallest batch that ran held 1 item(s).",
        "1 item(s) ran on the CPU, for want of memory on the device.",
    ]


def test_where_nothing_helps_the_item_is_told_that_memory_ran_out() -> None:
    desk, model = crowded(0, Helper(others=1))
    desk.put(7)
    (error,) = desk.outputs(1)
    assert isinstance(error, OutOfMemory)
    assert len(model.batches) == 2


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"), True),
        (ValueError("out of memory"), False),
    ],
)
def test_memory_that_ran_out_is_told_from_other_errors(error: Exception, memory: bool) -> None:
    assert isinstance(as_job_error(error, "predict"), OutOfMemory) is memory
