"""The long-job worker as a process: checkpoints, cancel, drain, and children that die."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import jobs, reading
from tests.services.redis import RedisServer
from tests.services.workers import Stack


@pytest.fixture
def stack(tmp_path: Path, sqlite_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    made = Stack(tmp_path, sqlite_url, redis_server.url)
    yield made
    made.stop()


def expected(seed: int, steps: int) -> float:
    """What toy-steps adds up to."""
    total = 0.0
    for step in range(steps):
        total += random.Random(seed * 100_003 + step).random()
    return total


def steps(stack: Stack, seed: int = 3, **params: object) -> str:
    (job_id,) = stack.submit(stack.new([], "toy-steps", "long", params=params, seed=seed))
    return job_id


def test_a_long_job_runs_to_its_end(stack: Stack) -> None:
    stack.worker("long")
    job_id = steps(stack, steps=5)
    (job,) = stack.wait([job_id])
    assert job.state == "succeeded", job.error
    assert stack.result(job_id)["items"] == [{"total": expected(3, 5), "steps": 5}]


def test_events_tell_how_a_long_job_goes(stack: Stack) -> None:
    stack.worker("long")
    job_id = steps(stack, steps=3)
    stack.wait([job_id])
    events = reading.events(stack.db, job_id)
    assert [e.data["step"] for e in events if e.type == "metric"] == [0, 1, 2]
    assert [e.data["state"] for e in events if e.type == "state"] == ["queued", "running", "succeeded"]
    assert stack.view(job_id).fraction == 1.0


def test_each_long_job_has_a_process_of_its_own_that_ends_with_it(stack: Stack) -> None:
    """Given a job that has ended, then its process is gone, and with it what it held of a GPU; the next one runs."""
    stack.worker("long")
    first = steps(stack, steps=20, step_s=0.05)
    stack.until(lambda: stack.view(first).fraction > 0)
    (ran,) = stack.children()
    stack.wait([first])
    stack.until(lambda: not ran.is_running())
    (after,) = stack.wait([steps(stack, steps=2)], 60)
    assert after.state == "succeeded"
    assert [attempt.outcome for attempt in after.attempts] == ["succeeded"]


def test_a_killed_child_resumes_from_its_checkpoint(stack: Stack) -> None:
    """Given a long job half way, when its process is killed, then another goes on where it was."""
    stack.worker("long")
    stack.keeper()
    job_id = steps(stack, steps=60, step_s=0.05)
    stack.until(lambda: stack.view(job_id).fraction > 0.2)
    (child,) = stack.children()
    child.kill()
    (job,) = stack.wait([job_id], 60)
    assert job.state == "succeeded"
    assert stack.result(job_id)["items"] == [{"total": expected(3, 60), "steps": 60}]
    assert [a.outcome for a in job.attempts] == ["worker-lost", "succeeded"]
    logs = [e.data["message"] for e in reading.events(stack.db, job_id) if e.type == "log"]
    assert any(message.startswith("resumed at step") for message in logs)
    assert job.crashes == 0


def test_a_killed_worker_resumes_elsewhere(stack: Stack) -> None:
    first = stack.worker("long")
    stack.keeper()
    job_id = steps(stack, steps=60, step_s=0.05)
    stack.until(lambda: stack.view(job_id).fraction > 0.2)
    first.kill()
    stack.worker("long")
    (job,) = stack.wait([job_id], 60)
    assert job.state == "succeeded"
    assert stack.result(job_id)["items"] == [{"total": expected(3, 60), "steps": 60}]


def test_a_result_that_is_finished_while_the_database_is_locked_is_not_thrown_away(stack: Stack) -> None:
    """Given a writer that holds SQLite for longer than anybody waits for it, when a job ends meanwhile, then its one
    attempt succeeds afterwards."""
    stack.worker("long")
    job_id = steps(stack, steps=40, step_s=0.05, checkpoint_every=1000)
    stack.until(lambda: stack.view(job_id).fraction > 0.5)
    with stack.db.write():
        time.sleep(2 + stack.settings.database_wait_s)
    (job,) = stack.wait([job_id])
    assert [attempt.outcome for attempt in job.attempts] == ["succeeded"]


def test_cancel_reaches_a_running_long_job(stack: Stack) -> None:
    stack.worker("long")
    job_id = steps(stack, steps=10_000, step_s=0.05)
    stack.wait_running([job_id])
    begun = time.monotonic()
    jobs.request_cancel(stack.db, job_id, None)
    (job,) = stack.wait([job_id])
    assert job.state == "cancelled"
    assert time.monotonic() - begun < 5


def test_cancel_ends_a_deaf_long_job_after_the_grace(stack: Stack) -> None:
    """Given a runner that never looks, when its job is cancelled, then its process ends and the next job runs."""
    stack.worker("long")
    job_id = steps(stack, steps=1000, step_s=0.05, deaf=True)
    stack.wait_running([job_id])
    jobs.request_cancel(stack.db, job_id, None)
    (job,) = stack.wait([job_id])
    assert job.state == "cancelled"
    (after,) = stack.wait([steps(stack, steps=2)], 60)
    assert after.state == "succeeded"


def test_a_long_job_times_out(stack: Stack) -> None:
    stack.worker("long")
    (job_id,) = stack.submit(stack.new([], "toy-steps", "long", params={"steps": 9999, "step_s": 0.05}, timeout_s=1.0))
    (job,) = stack.wait([job_id])
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["code"] == "timeout"


def test_drain_hands_a_long_job_back_uncharged(stack: Stack) -> None:
    first = stack.worker("long")
    job_id = steps(stack, steps=100, step_s=0.05)
    stack.until(lambda: stack.view(job_id).fraction > 0.1)
    assert first.terminate() == 0
    job = stack.view(job_id)
    assert job.state == "queued"
    assert job.attempts[0].outcome == "drained"
    assert job.failures == job.crashes == 0
    stack.worker("long")
    stack.keeper()
    (job,) = stack.wait([job_id], 60)
    assert stack.result(job_id)["items"] == [{"total": expected(3, 100), "steps": 100}]
