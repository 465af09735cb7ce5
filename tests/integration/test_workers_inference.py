"""The inference worker as a process: what becomes of jobs, items and batches."""

from __future__ import annotations

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


def test_a_file_becomes_a_result(stack: Stack) -> None:
    stack.worker()
    (job,) = stack.wait(stack.files([b"\x01\x03"]))
    assert job.state == "succeeded"
    result = stack.result(job.id)
    assert result["items"] == [{"mean": 2.0, "size": 2}]
