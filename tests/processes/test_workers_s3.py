"""API, workers and keeper with their files on S3: what a user sends, gets, and loses nothing of when S3 goes away."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import reading
from db.callers import create_token
from jobs.states import State
from tests.services.api_server import ApiServer
from tests.services.redis import RedisServer
from tests.services.s3 import S3Server
from tests.services.workers import FAST, Stack

SLOWER = {"max_attempts": 12, "lease_long_s": 120, "renew_long_s": 1}
"""The killed process is noticed by its parent, not by its lease."""


@pytest.fixture
def stack(tmp_path: Path, sqlite_url: str, redis_server: RedisServer, s3: S3Server) -> Iterator[Stack]:
    made = Stack(tmp_path, sqlite_url, redis_server.url, storage_url=s3.url(), **SLOWER)
    yield made
    made.stop()


@pytest.fixture
def api(stack: Stack, s3: S3Server) -> Iterator[ApiServer]:
    settings = {name.lower(): value for name, value in FAST.items()}
    server = ApiServer(
        stack.settings.home, database_url=stack.settings.database, redis_url=stack.settings.redis, **settings,
        storage_url=s3.url(),
    )  # fmt: skip
    yield server
    server.stop()


def test_a_long_job_and_an_image_survive_a_killed_process_and_an_s3_that_goes_away(
    stack: Stack, api: ApiServer, s3: S3Server
) -> None:
    """Given a long job half way and an upload through the API, when its process is killed and S3 then refuses every
    connection for a while, then both jobs succeed, the long one from its checkpoint, and their files are downloaded."""
    stack.worker()
    stack.worker("long")
    stack.keeper()
    with api.client(create_token(stack.db, "lab", ["read", "submit"])) as http:
        content = os.urandom(1000)
        file = http.post("/v1/files", content=content).json()["id"]
        assert http.get(f"/v1/files/{file}").content == content
        body = {"kind": "toy-steps", "params": {"steps": 40, "step_s": 0.05, "checkpoint_every": 10}, "seed": 3}
        long_job = http.post("/v1/jobs", json=body).json()["id"]
        stack.until(lambda: stack.view(long_job).fraction > 0.3, 120)
        for child in stack.children():
            child.kill()
        stack.until(lambda: stack.view(long_job).fence > 1 and stack.view(long_job).state is State.RUNNING, 60)
        s3.stop()
        try:
            assert http.post("/v1/files", content=b"another").status_code == 503
            body = {"kind": "toy-mean", "inputs": [file], "params": {"artifact": True}}
            image_job = http.post("/v1/jobs", json=body).json()["id"]
            stack.until(lambda: any(one.outcome == "retried" for one in stack.view(image_job).attempts), 60)
        finally:
            s3.start()
        jobs = stack.wait([long_job, image_job], 120)
        assert [job.state for job in jobs] == ["succeeded", "succeeded"]
        for job_id, name in ((long_job, "total.txt"), (image_job, "mean-0.txt")):
            assert http.get(f"/v1/jobs/{job_id}/artifacts/{name}").text.strip()
            assert any(key.endswith(name) for key in s3.keys(f"prefix/jobs/{job_id}/"))
    said = [event.data["message"] for event in reading.events(stack.db, long_job) if event.type == "log"]
    assert any(message.startswith("resumed at step") for message in said)
    total = stack.result(long_job)["items"][0]["total"]
    assert total == pytest.approx(sum(random.Random(3 * 100_003 + step).random() for step in range(40)))
