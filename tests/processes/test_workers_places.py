"""Real worker processes on devices of which some are too small: what they take, hand on, and say of themselves.

The GPUs here are names: the toy kind asks no driver, and behaves as a card does that runs out of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from broker.queues import redis_lists
from db import depths, workers
from db.workers import Worker
from jobs.kinds import Kind, Params
from jobs.needs import GIB
from jobs.states import State
from registry.placing import Placing
from registry.versions import Registry
from tests.services.redis import RedisServer
from tests.services.workers import Process, Stack


@pytest.fixture
def stack(tmp_path: Path, sqlite_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    made = Stack(tmp_path, sqlite_url, redis_server.url)
    yield made
    made.stop()


def start(stack: Stack, device: str, memory: int, **settings: str) -> Process:
    """A worker on a device of so many bytes, once it takes jobs."""
    named = {f"MEDJOBS_{name.upper()}": value for name, value in settings.items()}
    stack.environment |= {"MEDJOBS_DEVICE_MEMORY": str(memory), **named}
    process = stack.worker(device=device)
    stack.until(lambda: "takes jobs" in process.text())
    return process


def numbers(stack: Stack, *values: int, **more: Any) -> Any:
    return stack.new([{"data": {"values": list(values)}}], kind="toy-hungry", **more)


def on(stack: Stack, device: str) -> Worker:
    (found,) = [one for one in workers.live(stack.db, 20) if one.device == device]
    return found


def test_a_gpu_that_runs_out_of_memory_does_the_work_in_small_batches_and_the_rest_on_the_processor(
    stack: Stack,
) -> None:
    """Given one job of many items, one of which no GPU holds, then all succeed, and the result says what it took."""
    start(stack, "cuda:0", 16 * GIB, cpu_fallback="true")
    values = [[n, n + 2] for n in range(1, 12)] + [[0, 8]]
    (job,) = stack.submit(stack.new([{"data": {"values": v}} for v in values], kind="toy-hungry", queue="gpu-16"))
    (view,) = stack.wait([job])
    assert view.state is State.SUCCEEDED
    result = stack.result(job)
    assert [item["mean"] for item in result["items"]] == [sum(v) / 2 for v in values]
    assert result["provenance"]["out_of_memory"] == {"batch_size": 1, "cpu_items": 1}
    assert result["provenance"]["device"] == "cuda:0"
    assert result["warnings"] == [
        "The device ran out of memory; the smallest batch that ran held 1 item(s).",
        "1 item(s) ran on the CPU, for want of memory on the device.",
    ]
    stack.until(lambda: bool(on(stack, "cuda:0").memory.get("models")))
    told = on(stack, "cuda:0")
    assert told.facts["queues"] == ["gpu-16", "gpu-8", "gpu", "any"]
    assert told.memory["limit"] == 16 * GIB
    assert [(one["kind"], one["bytes"] >= 1 << 20) for one in told.memory["models"]] == [("toy-hungry", True)]


def test_a_small_device_takes_no_job_of_a_larger_class_and_hands_on_what_it_cannot_hold(stack: Stack) -> None:
    """Given a worker with room for 1,000 bytes, then a model of 1 MiB is refused with both sizes, and a job for 16 GiB
    waits where nobody serves; given a larger worker too, then both sorts run there, and nothing was charged."""
    start(stack, "cpu", 1000)
    (alone,) = stack.submit(numbers(stack, 1))
    (failed,) = stack.wait([alone])
    assert failed.error is not None
    assert (failed.error["code"], failed.error["needed_bytes"], failed.error["limit_bytes"]) == (
        "model-too-large", 1 << 20, 1000,
    )  # fmt: skip
    (large,) = stack.submit(numbers(stack, 1, 3, queue="gpu-16"))
    assert [(one.queue, one.jobs) for one in depths.unserved(stack.db, 20)] == [("gpu-16", 1)]
    assert stack.view(large).state is State.QUEUED
    start(stack, "cuda:0", 16 * GIB)
    (done,) = stack.wait([large])
    assert (done.state, [attempt.worker for attempt in done.attempts]) == (State.SUCCEEDED, [on(stack, "cuda:0").id])
    stack.keeper()
    (job,) = stack.submit(numbers(stack, 2, 4, queue="cpu"))
    (handed,) = stack.wait([job])
    assert (handed.state, handed.queue, handed.failures) == (State.SUCCEEDED, "gpu-8", 0)
    assert stack.result(job)["items"][0]["mean"] == 3.0
    first, second = handed.attempts
    assert (first.worker, first.outcome, (first.error or {})["code"]) == (
        on(stack, "cpu").id, "retried", "model-too-large",
    )  # fmt: skip
    assert (second.worker, second.outcome) == (on(stack, "cuda:0").id, "succeeded")
    assert depths.unserved(stack.db, 20) == []


def test_a_worker_that_was_killed_is_followed_by_one_that_says_so(stack: Stack) -> None:
    stack.supervised(devices="cpu:2")
    stack.until(lambda: len(workers.live(stack.db, 20)) == 2)
    first = workers.live(stack.db, 20)[0]
    assert first.facts["restarts"] == 0
    psutil.Process(first.pid).kill()
    place = first.id.rpartition(":")[0]

    def again() -> list[Worker]:
        return [one for one in workers.live(stack.db, 20) if one.id.startswith(place) and one.facts["restarts"] == 1]

    stack.until(lambda: bool(again()))
    assert again()[0].facts["last_exit"]["reason"].startswith("killed by SIGKILL (9)")


def test_a_worker_that_celery_ends_is_followed_by_another(stack: Stack, redis_server: RedisServer) -> None:
    """Given what is no message in the queue, at which Celery's worker returns as if it had been told to stop, then the
    place has a worker again, and no job is charged for it."""
    supervisor = stack.supervised()
    stack.keeper()
    held = stack.files([b"slow"], params={"sleep_s": 2.0})
    stack.wait_running(held)
    with redis.Redis.from_url(redis_server.url) as client:
        client.lpush(redis_lists("inference")[0], b"{not a message")
    stack.until(lambda: "exited with status 1" in supervisor.text())
    done = stack.wait([*held, *stack.files([b"second"])])
    assert [(view.state, view.crashes) for view in done] == [(State.SUCCEEDED, 0)] * 2


def test_a_worker_that_is_set_apart_for_a_model_takes_its_jobs_and_no_others(stack: Stack) -> None:
    """Given a worker for all and one for a model, then each job goes where it belongs, and each holds its own."""
    start(stack, "cpu", 0, warm_models="false")
    start(stack, "cuda:0", 0, only_models="toy-scale", warm_models="true")
    placing = Placing(stack.db, Registry(stack.db, stack.storage, stack.folder / "looked-at"), 20.0)
    queue = placing.queue(Kind(name="toy-scale", summary="", params=Params, item=Params), "toy-scale", 1)
    scaled = [
        stack.new([stack.put(b"2")], "toy-scale", model_name="toy-scale", model_version=1, queue=queue)
        for _ in range(6)
    ]
    means = [stack.new([stack.put(b"2")]) for _ in range(6)]
    ids = stack.submit(*(job for pair in zip(scaled, means, strict=True) for job in pair))
    for_all, set_apart = on(stack, "cpu"), on(stack, "cuda:0")
    ran = {(view.kind, view.attempts[-1].worker) for view in stack.wait(ids) if view.state is State.SUCCEEDED}
    assert ran == {("toy-mean", for_all.id), ("toy-scale", set_apart.id)}
    assert set_apart.facts["queues"] == ["gpu-model-toy-scale", "model-toy-scale"]

    def held(device: str) -> list[str]:
        return [one["kind"] for one in on(stack, device).memory.get("models", ())]

    stack.until(lambda: bool(held("cpu")) and bool(held("cuda:0")))
    assert (held("cpu"), held("cuda:0")) == (["toy-mean"], ["toy-scale"])
