"""What Flower sees of jobs, what its buttons do, and what stands in the worker's log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from broker.app import make_app
from db import jobs
from tests.services.redis import RedisServer
from tests.services.workers import Stack


@pytest.fixture
def stack(tmp_path: Path, sqlite_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    made = Stack(tmp_path, sqlite_url, redis_server.url)
    yield made
    made.stop()


class Seen:
    """Celery's own picture of the events, as Flower keeps it."""

    def __init__(self, state: Any, connection: Any) -> None:
        self.state = state
        self._connection = connection

    def until(self, job_id: str, state: str, timeout_s: float = 20) -> Any:
        """Read events until the task is in a state."""
        deadline = time.monotonic() + timeout_s
        while job_id not in self.state.tasks or self.state.tasks[job_id].state != state:
            if time.monotonic() > deadline:
                task = self.state.tasks.get(job_id)
                raise AssertionError(f"{job_id} is {task and task.state}, not {state}")
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=1)
        return self.state.tasks[job_id]


@contextmanager
def watching(stack: Stack) -> Iterator[Seen]:
    app = make_app(stack.settings)
    state = app.events.State()
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": state.event})
        with receiver.consumer_context() as (reading, _channel, _consumers):
            with suppress(TimeoutError):
                reading.drain_events(timeout=0.3)
            yield Seen(state, reading)


def test_flower_sees_each_job_by_name_state_and_runtime(stack: Stack) -> None:
    with watching(stack) as seen:
        (good, bad) = stack.files([b"good", b"BAD SECRET"])
        seen.until(good, "PENDING")
        stack.worker()
        task = seen.until(good, "SUCCESS")
        assert task.name == "medjobs.toy-mean"
        assert task.runtime is not None
        assert task.result == ""
        failed = seen.until(bad, "FAILURE")
        assert failed.exception == "all-items-failed"
        assert failed.traceback == ""
        assert good in task.args


def test_a_cancelled_job_is_shown_as_revoked(stack: Stack) -> None:
    with watching(stack) as seen:
        stack.worker()
        (job_id,) = stack.files([b"slow"], params={"sleep_s": 30})
        seen.until(job_id, "STARTED")
        jobs.request_cancel(stack.db, job_id, stack.caller_id)
        seen.until(job_id, "REVOKED")


def test_flowers_button_is_a_durable_cancel_that_no_worker_remembers(stack: Stack) -> None:
    """Given Celery's revoke for a running and a waiting job, then both are cancelled in the database."""
    stack.environment["MEDJOBS_INFERENCE_THREADS"] = "1"
    with watching(stack) as seen:
        stack.worker()
        running, waiting = stack.files([b"slow", b"waits"], params={"sleep_s": 30})
        seen.until(running, "STARTED")
        control = make_app(stack.settings).control
        control.revoke(running, terminate=True)
        control.revoke(waiting)
        assert [view.state for view in stack.wait([running, waiting])] == ["cancelled", "cancelled"]
        seen.until(running, "REVOKED")
        seen.until(waiting, "REVOKED")
        stack.wait(stack.files([b"after"]))


def test_long_jobs_are_shown_too(stack: Stack) -> None:
    with watching(stack) as seen:
        stack.worker("long")
        done, cancelled, late = (
            stack.submit(
                stack.new([], "toy-steps", "long", params={"steps": n, "step_s": 0.05, "deaf": False}, **more)
            )[0]
            for n, more in ((3, {}), (5000, {}), (5000, {"timeout_s": 1.0}))
        )
        assert seen.until(done, "SUCCESS").name == "medjobs.toy-steps"
        seen.until(cancelled, "STARTED")
        jobs.request_cancel(stack.db, cancelled, None)
        seen.until(cancelled, "REVOKED")
        failed = seen.until(late, "FAILURE")
        assert "timeout" in failed.exception


def test_the_log_says_nothing_of_what_was_in_a_file(stack: Stack) -> None:
    worker = stack.worker()
    stack.wait(stack.files([b"BAD MARKER^NAME", b"BREAKER MARKER^NAME", b"fine"]))
    worker.terminate()
    assert "MARKER" not in worker.text()
    assert "ValueError in predict" in worker.text()  # the defect itself is told, and where it is
    assert "mean.py" in worker.text()


def test_hostile_packages_in_the_working_directory_are_not_ours(stack: Stack) -> None:
    """Given folders models/, db/, jobs/, workers/ where the worker runs, then it runs its own code."""
    for name in ("models", "db", "jobs", "workers", "broker", "storage"):
        package = stack.settings.home / name
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text("raise SystemExit('hostile')")
    stack.worker()
    stack.worker("long")
    (job,) = stack.wait(stack.files([b"x"]))
    (long_job,) = stack.wait(stack.submit(stack.new([], "toy-steps", "long", params={"steps": 1})))
    assert (job.state, long_job.state) == ("succeeded", "succeeded")
