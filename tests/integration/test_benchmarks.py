"""What the benchmark of training times is a job's attempt: it writes what a worker's writes, or fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.attempt import attempt
from db import reading
from db.engine import Database
from jobs.settings import Settings
from jobs.states import State


def test_an_attempt_writes_events_and_checkpoints_under_its_fence(tmp_path: Path) -> None:
    with attempt(tmp_path) as work:
        work.progress(0.5, "training", "half")
        work.metric("network/loss", 0.25, 7)
        work.checkpoints.save({"now": b"weights"}, {"step": 7})
        work.step()
    database = Database(Settings(home=tmp_path).database)
    events = [(event.type, event.data) for event in reading.events(database, work.job_id)]
    assert ("metric", {"name": "network/loss", "value": 0.25, "step": 7}) in events
    (progress,) = (data for kind, data in events if kind == "progress")
    job = reading.get(database, work.job_id)
    database.close()
    assert progress["fraction"] == 0.5
    assert job is not None
    assert (job.state, job.fence) == (State.RUNNING, 1)
    assert [path.read_bytes() for path in tmp_path.rglob("now")] == [b"weights"]


def test_an_attempt_that_writes_nothing_is_not_taken_for_one(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="did not run as a job"), attempt(tmp_path):
        pass
