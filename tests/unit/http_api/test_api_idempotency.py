"""Idempotency-Key: the same request makes one job, whatever is sent again."""

from __future__ import annotations

import io
from typing import Any

import pytest

from api.problems import Problem
from db import depths
from tests.services.stage import Stage, pointers, problem

KEY = {"Idempotency-Key": "4f1d-1"}
BODY: dict[str, Any] = {"kind": "picture", "inputs": [{"data": {"Age": 3}}], "labels": {"a": "1", "b": "2"}}


def waiting(stage: Stage) -> int:
    return sum(depth.jobs for depth in depths.queue_depths(stage.here.database))


def test_given_a_replay_then_202_with_the_same_job(stage: Stage) -> None:
    first = stage.post("/v1/jobs", json=BODY, headers=KEY)
    # Same fields in another order, with a default written out, in other bytes.
    again = stage.post("/v1/jobs", json={"priority": 5, **dict(reversed(BODY.items()))}, headers=KEY)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json["id"] == again.json["id"]  # type: ignore[index]
    assert waiting(stage) == 1


def test_given_a_replay_after_the_job_ended_then_the_job_is_shown_as_it_is(stage: Stage) -> None:
    job = stage.submit(headers=KEY)
    stage.end(job["id"])
    assert stage.submit(headers=KEY)["state"] == "succeeded"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"priority": 6},
        {"labels": {}},
        {"params": {"level": 2}},
        {"inputs": [{"data": {"Age": 4}}]},
        {"model": "pictures@2"},
        {"timeout_s": 9},
        {"run_after": "2031-01-01T00:00:00Z"},
        {"kind": "nothing", "inputs": []},
        {"callback_url": "https://example.org/"},
    ],
)
def test_given_the_key_with_another_body_then_422(stage: Stage, change: dict[str, Any]) -> None:
    stage.submit(**BODY, headers=KEY)
    body = problem(stage.post("/v1/jobs", json={**BODY, **change}, headers=KEY), 422, "idempotency-key-reused")
    assert pointers(body) == ["#/headers/Idempotency-Key"]
    assert waiting(stage) == 1


def test_given_the_key_of_another_caller_then_it_is_no_ones_business(stage: Stage) -> None:
    mine = stage.submit(headers=KEY)
    theirs = stage.submit(headers=KEY, who="rival", labels={"other": "body"})
    assert mine["id"] != theirs["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "tab\there", "ümlaut"])
def test_given_a_key_that_is_none_then_422(stage: Stage, key: str) -> None:
    headers = {"Idempotency-Key": key.encode().decode("latin-1")}
    body = problem(stage.post("/v1/jobs", json=BODY, headers=headers), 422, "invalid-request")
    assert pointers(body) == ["#/headers/Idempotency-Key"]


def test_given_a_form_and_json_that_say_the_same_then_they_are_one_request(stage: Stage) -> None:
    file = stage.upload(b"pixels")
    by_json = stage.submit(kind="picture", inputs=[file], params={"explain": False}, headers=KEY)
    form = {"kind": "picture", "params": '{"explain": false}', "file": (io.BytesIO(b"pixels"), "x.dcm")}
    by_form = stage.post("/v1/jobs", data=form, headers=KEY)
    assert by_form.json["id"] == by_json["id"]  # type: ignore[index]
    form = {"kind": "picture", "params": '{"explain": false}', "file": (io.BytesIO(b"other"), "x.dcm")}
    problem(stage.post("/v1/jobs", data=form, headers=KEY), 422, "idempotency-key-reused")


def test_given_a_replay_after_the_job_was_deleted_then_it_is_not_run_again(stage: Stage) -> None:
    job = stage.submit(headers=KEY)
    stage.end(job["id"])
    assert stage.call("DELETE", f"/v1/jobs/{job['id']}").status_code == 204
    problem(stage.post("/v1/jobs", json={**BODY, "labels": {}}, headers=KEY), 409, "job-deleted")
    assert waiting(stage) == 0


def test_given_a_batch_with_one_key_then_its_replay_is_the_same_jobs(stage: Stage) -> None:
    batch = {"jobs": [BODY, {**BODY, "seed": 1}]}
    first = stage.post("/v1/jobs:batch", json=batch, headers=KEY).json
    assert stage.post("/v1/jobs:batch", json=batch, headers=KEY).json == first
    longer = {"jobs": [*batch["jobs"], BODY]}
    problem(stage.post("/v1/jobs:batch", json=longer, headers=KEY), 422, "idempotency-key-reused")
    assert waiting(stage) == 2


def test_given_a_batch_with_a_key_per_job_then_each_is_its_own(stage: Stage) -> None:
    jobs = [{**BODY, "idempotency_key": f"k{n}"} for n in range(3)]
    first = stage.post("/v1/jobs:batch", json={"jobs": jobs[:2]}).json
    more = stage.post("/v1/jobs:batch", json={"jobs": jobs}).json
    assert first is not None
    assert more is not None
    assert [job["id"] for job in more["jobs"][:2]] == [job["id"] for job in first["jobs"]]
    assert waiting(stage) == 3
    changed = {"jobs": [jobs[0], {**jobs[1], "seed": 5}]}
    body = problem(stage.post("/v1/jobs:batch", json=changed), 422, "idempotency-key-reused")
    assert pointers(body) == ["#/jobs/1"]


def test_a_key_of_a_job_is_not_a_field_of_a_single_submission(stage: Stage) -> None:
    body = problem(stage.post("/v1/jobs", json={**BODY, "idempotency_key": "k"}), 422, "invalid-request")
    assert pointers(body) == ["#"]


def test_a_problem_carries_its_own_code() -> None:
    assert Problem("queue-full").body()["status"] == 429
