"""The long-job worker as a process: checkpoints, cancel, drain, and children that die."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

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
