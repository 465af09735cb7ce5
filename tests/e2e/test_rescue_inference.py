"""What the promise says: whatever dies, every accepted job ends, and has one committed result."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from db.records import JobView
from tests.services.redis import RedisServer
from tests.services.workers import Stack


@pytest.fixture
def stack(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    made = Stack(tmp_path, database_url, redis_server.url)
    yield made
    made.stop()


def all_succeeded_once(stack: Stack, views: list[JobView]) -> None:
    assert [view.state for view in views] == ["succeeded"] * len(views), stack.logs()
    for view in views:
        assert [attempt.outcome for attempt in view.attempts].count("succeeded") == 1
        assert stack.result(view.id)["items"][0]["size"] > 0


def test_killing_the_worker_while_200_jobs_run_loses_none(stack: Stack) -> None:
    """Given 200 jobs, when the worker is killed among them, then all succeed within lease + 5 s of another's start."""
    stack.keeper()
    first = stack.worker()
    ids = stack.files([b"job %d" % i for i in range(200)], params={"sleep_s": 0.02})
    stack.until(lambda: sum(stack.view(i).state == "succeeded" for i in ids[:40]) > 10)
    first.kill()
    stack.worker()
    begun = time.monotonic()
    views = stack.wait(ids, 60)
    took = time.monotonic() - begun
    all_succeeded_once(stack, views)
    assert any(len(view.attempts) == 2 for view in views)
    starting, work = 4.0, 200 * 0.02
    assert took < stack.settings.lease_inference_s + 5 + starting + work


def test_a_submit_while_redis_is_down_is_done_when_it_is_back(stack: Stack, redis_server: RedisServer) -> None:
    stack.worker()
    stack.keeper()
    stack.wait(stack.files([b"warm"]))
    redis_server.kill()
    begun = time.monotonic()
    ids = stack.files([b"%d" % i for i in range(20)])
    assert time.monotonic() - begun < 5  # the files and rows; Redis itself was given up within a second
    time.sleep(1.0)
    redis_server.start()
    all_succeeded_once(stack, stack.wait(ids, 60))


def test_a_flush_in_the_middle_loses_nothing(stack: Stack, redis_server: RedisServer) -> None:
    stack.environment["MEDJOBS_INFERENCE_THREADS"] = "4"
    stack.worker()
    stack.keeper()
    ids = stack.files([b"job %d" % i for i in range(100)], params={"sleep_s": 0.03})
    stack.wait_running(ids)
    redis_server.flush()
    all_succeeded_once(stack, stack.wait(ids, 90))


def test_a_zombie_cannot_commit(stack: Stack) -> None:
    """Given a worker frozen past its lease, when it wakes after another has done the job, then it changes nothing."""
    zombie = stack.worker()
    stack.wait(stack.files([b"warm"]))
    (job_id,) = stack.files([b"frozen"], params={"sleep_s": 1.5, "artifact": True})
    stack.wait_running([job_id])
    time.sleep(0.3)
    with stack.db.write():  # SQLite has one writer: frozen in the middle of a write, it would hold up everybody
        zombie.send(signal.SIGSTOP)
    stack.keeper()
    stack.worker()
    (job,) = stack.wait([job_id], 60)
    before = stack.result(job_id)
    zombie.send(signal.SIGCONT)
    assert zombie.terminate() == 0  # it ends what it holds, or tries to
    (after,) = stack.wait([job_id])
    all_succeeded_once(stack, [after])
    assert after.fence == job.fence
    assert stack.result(job_id) == before
    assert stack.storage.read_artifact(job_id, after.fence, "mean-0.txt")


@pytest.mark.parametrize(("poison", "device"), [(b"KILLER", "cpu"), (b"FAULTY", "cuda:0")])
def test_a_poisonous_job_is_found_out_and_its_neighbours_succeed(
    poison: bytes, device: str, tmp_path: Path, sqlite_url: str, redis_server: RedisServer
) -> None:
    """Given an input that kills the process, or leaves the GPU useless to it, then it is failed after three workers
    that it ended, and the others succeed."""
    stack = Stack(tmp_path, sqlite_url, redis_server.url)
    try:
        stack.supervised(devices=device)
        stack.keeper()
        good = stack.files([b"good %d" % i for i in range(10)], params={"sleep_s": 0.3})
        (killer,) = stack.files([poison])
        more = stack.files([b"more %d" % i for i in range(10)])
        (job, *others) = stack.wait([killer, *good, *more], 120)
        assert job.state == "failed"
        assert job.error is not None
        assert job.error["code"] == "worker-crashed"
        assert [attempt.outcome for attempt in job.attempts] == ["worker-lost"] * 3
        all_succeeded_once(stack, others)
        assert max(view.crashes for view in others) <= 1
    finally:
        stack.stop()


def test_a_worker_that_is_killed_again_and_again_is_back_each_time(
    tmp_path: Path, sqlite_url: str, redis_server: RedisServer
) -> None:
    """Given kills of a worker that had settled, then its successor starts within a second or two, however many."""
    stack = Stack(tmp_path, sqlite_url, redis_server.url, settled_s=0.1, restart_cap_s=30)
    try:
        supervisor = psutil.Process(stack.supervised().pid)
        stack.keeper()
        for _ in range(4):
            stack.wait(stack.files([b"before the kill"]), 60)
            time.sleep(0.5)
            (child,) = supervisor.children()
            child.kill()
            killed = time.monotonic()
            stack.until(lambda gone=child.pid: [c.pid for c in supervisor.children()] not in ([], [gone]))  # type: ignore[misc]
            assert time.monotonic() - killed < 3
    finally:
        stack.stop()


def test_the_supervisor_stops_its_child(stack: Stack) -> None:
    supervisor = stack.supervised()
    stack.wait(stack.files([b"x"]))
    (child,) = psutil.Process(supervisor.pid).children()
    assert supervisor.terminate() == 0
    assert not psutil.pid_exists(child.pid) or child.status() == psutil.STATUS_ZOMBIE


def test_no_worker_outlives_a_killed_supervisor(stack: Stack) -> None:
    supervisor = stack.supervised()
    stack.wait(stack.files([b"x"]))
    (child,) = psutil.Process(supervisor.pid).children()
    supervisor.kill()
    try:
        stack.until(lambda: not psutil.pid_exists(child.pid) or child.status() == psutil.STATUS_ZOMBIE, 15)
    finally:
        if psutil.pid_exists(child.pid):
            os.kill(child.pid, signal.SIGKILL)
