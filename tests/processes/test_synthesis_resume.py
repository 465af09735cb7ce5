"""A large set on the true long worker: killed in the middle, it goes on, and is the same to the last byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import reading
from models.catalogue import Catalogue
from models.synthesis import runner
from models.synthesis.kind import SynthesisParams
from models.training.local import LocalWork
from registry.shipped import import_shipped
from tests.services.redis import RedisServer
from tests.services.workers import Stack
from tests.synthetic_shapes import version

COUNT, SIDE, SEED = 50_000, 32, 7
"""Some 17 s on one core; the first checkpoint is made after 10 s."""


@pytest.fixture
def stack(tmp_path: Path, sqlite_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    # A child that is killed is seen by its parent; no lease is to run out on a busy machine.
    made = Stack(tmp_path / "stack", sqlite_url, redis_server.url, lease_long_s=120, worker_dead_s=60)
    yield made
    made.stop()


@pytest.mark.slow
def test_given_a_worker_killed_in_the_middle_of_a_set_then_the_next_goes_on_and_the_set_is_that_of_an_uninterrupted_job(
    stack: Stack, tmp_path: Path
) -> None:
    made = version(tmp_path / "model", side=SIDE)
    import_shipped(stack.db, stack.storage, Catalogue({"shapes": {1: made}}, {"shapes": {"production": 1}}))
    params = {"count": COUNT, "format": "npz"}
    new = stack.new([], "synthesis", "long", params=params, seed=SEED, model_name="shapes", model_version=1)
    stack.worker("long")
    stack.keeper()
    (job_id,) = stack.submit(new)

    def saved() -> bool:
        return stack.storage.checkpoints(job_id, stack.view(job_id).fence).newest() is not None

    stack.until(saved, 600)
    assert stack.view(job_id).stage == "drawing"
    (child,) = stack.children()
    child.kill()
    (job,) = stack.wait([job_id], 900)

    assert job.state == "succeeded", job.error
    assert len(job.attempts) == 2
    told = [event.data["message"] for event in reading.events(stack.db, job_id) if event.type == "log"]
    (resumed,) = (int(text.split()[5]) for text in told if text.startswith("goes on from a checkpoint"))
    assert 0 < resumed < COUNT
    content = stack.storage.read_artifact(job_id, job.fence, "synthetic.npz")
    assert stack.result(job_id)["items"][0]["sha256"] == hashlib.sha256(content).hexdigest()
    alone = LocalWork(SEED)
    alone.params, alone.model = SynthesisParams(count=COUNT, format="npz"), made
    whole = {file.name: file.content for file in runner.run(alone).artifacts}
    assert content == whole["synthetic.npz"]
    assert stack.storage.read_artifact(job_id, job.fence, "sheet.png") == whole["sheet.png"]
