"""A data set that its caller deletes while another request of the caller's is being accepted with it."""

from __future__ import annotations

from typing import Any

import pytest

from db import callers, datasets, depths, submitting
from db.engine import Database
from tests.services.stage import Stage, problem

READ = {"format": "pixels", "fingerprint": "ab" * 32, "counts": {}, "classes": {}, "facts": {}, "warnings": []}
TRAINING = {"kind": "teaching", "params": {"kind": "picture", "dataset": "scans"}}
PLAIN = {"kind": "picture", "inputs": [{"data": {"Age": 3}}]}


@pytest.fixture
def deleted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """`scans` is ready when a request reads it, and gone when the same request writes its jobs."""
    made = stage.dataset("scans")
    stage.end(made["job"], item={**READ, "card": "", "files": []})
    admit = submitting.admit

    def late(db: Database, *rest: Any) -> None:
        datasets.forget(db, callers.caller_id(db, "imaging-lab"), "scans")
        admit(db, *rest)

    monkeypatch.setattr(submitting, "admit", late)


@pytest.mark.usefixtures("deleted")
def test_given_a_data_set_that_is_deleted_meanwhile_then_the_job_is_refused_and_not_queued(stage: Stage) -> None:
    body = problem(stage.post("/v1/jobs", json=TRAINING), 422, "unknown-dataset")
    assert "deleted a moment ago" in body["detail"]
    assert sum(depth.jobs for depth in depths.queue_depths(stage.here.database)) == 0


@pytest.mark.usefixtures("deleted")
def test_given_a_batch_that_is_not_atomic_then_the_other_jobs_are_accepted(stage: Stage) -> None:
    answer = stage.post("/v1/jobs:batch", json={"jobs": [PLAIN, TRAINING, PLAIN], "atomic": False})
    assert answer.status_code == 200, answer.text
    entries = answer.json["jobs"]  # type: ignore[index]
    assert [entry["status"] for entry in entries] == [202, 422, 202]
    assert entries[1]["problem"]["code"] == "unknown-dataset"
    assert sum(depth.jobs for depth in depths.queue_depths(stage.here.database)) == 2
