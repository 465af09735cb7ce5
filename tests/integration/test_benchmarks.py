"""What the benchmarks stand on: an attempt that writes what a worker's writes; and the memory of a large screening."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.attempt import attempt
from benchmarks.scale import fill, rows
from db import reading, schema
from db.engine import Database
from db.reading import Filters
from jobs.settings import Settings
from jobs.states import State
from tests.services.postgres import Postgres


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


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_given_a_million_lines_instead_of_ten_thousand_then_a_screening_takes_less_than_100_mib_more() -> None:
    """Whole jobs, each in a process of its own; the benchmark checks the stored table, and the model is a stand-in."""
    peaks = []
    for lines in (10_000, 1_000_000):
        command = [sys.executable, "-m", "benchmarks.screening_table", "--text", str(lines)]
        root = Path(__file__).parents[2]
        told = subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
        )
        (stored,) = re.findall(r"(\d+) stored", told.stdout)
        peaks.append(int(stored))
    assert peaks[1] - peaks[0] < 100, peaks


def test_given_few_rows_when_every_call_is_timed_then_the_table_has_a_row_for_each_of_them(
    postgres_server: Postgres,
) -> None:
    url = postgres_server.url(postgres_server.fresh())
    schema.upgrade(url)
    while fill.fill_into(url.replace("+psycopg", ""), ended=2000, waiting=200, most=1300):
        pass

    (size,) = rows.measure({2000: url}, rounds=2)

    assert {name for name, found in size.took.items() if len(found) != 2} == set()
    assert {"claim 1", "claim 32", "complete 32", "list: first page", "metrics"} < size.took.keys()
    lines = rows.table([size]).splitlines()
    assert len(lines) == 2 + len(size.took)
    assert all(line.count(" / ") == 2 for line in lines[2:])
    database = Database(url)
    # Each round submits, claims and completes 33 jobs.
    waiting = [depth.jobs for depth in reading.queue_depths(database) if depth.state is State.QUEUED]
    failed = reading.listing(database, None, Filters(states=(State.FAILED,)), limit=1000)
    database.close()
    assert sum(waiting) == 200
    assert 70 <= len(failed) <= 80  # a sweep of records deleted the oldest jobs, a few of them failed
