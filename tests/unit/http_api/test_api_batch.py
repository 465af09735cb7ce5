"""POST /v1/jobs:batch and :rerun."""

from __future__ import annotations

import time
from typing import Any

import pytest

from db import depths, reading, retention
from tests.services.stage import Stage, pointers, problem

GOOD: dict[str, Any] = {"kind": "picture", "inputs": [{"data": {"Age": 3}}]}


def waiting(stage: Stage) -> int:
    return sum(depth.jobs for depth in depths.queue_depths(stage.here.database))


def test_given_a_batch_then_the_jobs_come_in_order(stage: Stage) -> None:
    answer = stage.post("/v1/jobs:batch", json={"jobs": [{**GOOD, "seed": n} for n in range(20)]})
    assert answer.status_code == 202
    assert [job["seed"] for job in answer.json["jobs"]] == list(range(20))  # type: ignore[index]


def test_given_a_thousand_jobs_then_they_are_accepted_in_one_go(stage: Stage) -> None:
    began = time.perf_counter()
    answer = stage.post("/v1/jobs:batch", json={"jobs": [GOOD] * 1000})
    assert answer.status_code == 202
    assert waiting(stage) == 1000
    assert time.perf_counter() - began < 5  # measured .2 s; the bound only catches one transaction per job


@pytest.mark.parametrize("jobs", [[], [GOOD] * 1001])
def test_given_none_or_too_many_then_422(stage: Stage, jobs: list[Any]) -> None:
    assert pointers(problem(stage.post("/v1/jobs:batch", json={"jobs": jobs}), 422, "invalid-request")) == ["#/jobs"]


def test_given_bad_entries_when_atomic_then_none_is_queued_and_each_is_named(stage: Stage) -> None:
    jobs = [GOOD, {**GOOD, "seed": -1}, 7, {**GOOD, "params": {"level": 9}}, {**GOOD, "inputs": []}]
    body = problem(stage.post("/v1/jobs:batch", json={"jobs": jobs}), 422, "invalid-request")
    assert pointers(body) == ["#/jobs/1/seed", "#/jobs/2", "#/jobs/3/params/level", "#/jobs/4/inputs"]
    assert waiting(stage) == 0


def test_given_an_unknown_file_when_atomic_then_its_place_is_named(stage: Stage) -> None:
    missing = f"sha256:{'1' * 64}"
    body = problem(
        stage.post("/v1/jobs:batch", json={"jobs": [GOOD, {**GOOD, "inputs": [missing]}]}), 422, "unknown-file"
    )
    assert pointers(body) == ["#/jobs/1/inputs/0"]
    assert waiting(stage) == 0


def test_given_bad_entries_when_not_atomic_then_each_is_answered_for_itself(stage: Stage) -> None:
    missing = f"sha256:{'1' * 64}"
    jobs = [GOOD, {**GOOD, "seed": -1}, {**GOOD, "inputs": [missing]}, {"kind": "no-such"}, {**GOOD, "seed": 4}]
    answer = stage.post("/v1/jobs:batch", json={"jobs": jobs, "atomic": False})
    assert answer.status_code == 200
    entries = answer.json["jobs"]  # type: ignore[index]
    assert [entry["status"] for entry in entries] == [202, 422, 422, 422, 202]
    codes = [entry["problem"]["code"] for entry in entries if "problem" in entry]
    assert codes == ["invalid-request", "unknown-file", "unknown-kind"]
    assert entries[4]["job"]["seed"] == 4
    assert waiting(stage) == 2


def test_given_many_when_one_lacks_its_file_and_not_atomic_then_the_rest_goes_in_together(stage: Stage) -> None:
    missing = f"sha256:{'1' * 64}"
    reused = {"idempotency_key": "k"}
    stage.post("/v1/jobs:batch", json={"jobs": [{**GOOD, **reused, "seed": 99}]})
    jobs = [GOOD] * 400 + [{**GOOD, "inputs": [missing]}] + [GOOD] * 400 + [{**GOOD, **reused}]
    began = time.perf_counter()
    entries = stage.post("/v1/jobs:batch", json={"jobs": jobs, "atomic": False}).json["jobs"]  # type: ignore[index]
    assert time.perf_counter() - began < 3  # one transaction each would be 800 commits
    assert [n for n, entry in enumerate(entries) if entry["status"] != 202] == [400, 801]
    assert entries[400]["problem"]["errors"][0]["pointer"] == "#/jobs/400/inputs/0"
    assert entries[801]["problem"]["code"] == "idempotency-key-reused"
    assert waiting(stage) == 801


@pytest.mark.parametrize("small", [{"max_queued": 3}])
def test_given_a_queue_with_little_room_when_not_atomic_then_each_is_told(stage: Stage) -> None:
    answer = stage.post("/v1/jobs:batch", json={"jobs": [GOOD] * 4, "atomic": False})
    assert [entry["status"] for entry in answer.json["jobs"]] == [429] * 4  # type: ignore[index]
    assert waiting(stage) == 0


@pytest.mark.parametrize("small", [{"max_queued": 3}])
def test_given_a_queue_with_little_room_when_atomic_then_all_or_nothing(stage: Stage) -> None:
    problem(stage.post("/v1/jobs:batch", json={"jobs": [GOOD] * 4}), 429, "queue-full")
    assert waiting(stage) == 0
    assert stage.post("/v1/jobs:batch", json={"jobs": [GOOD] * 3}).status_code == 202


def test_given_a_job_then_rerun_makes_a_new_one_with_all_the_same(stage: Stage) -> None:
    file = stage.upload()
    first = stage.submit(inputs=[file], params={"level": 4}, seed=9, labels={"a": "b"}, model="pictures@2")
    again = stage.post(f"/v1/jobs/{first['id']}:rerun")
    assert again.status_code == 202
    job = again.json
    assert job is not None
    assert job["id"] != first["id"]
    assert job["rerun_of"] == first["id"]
    same = ("kind", "model", "seed", "labels", "timeout_s", "priority")
    assert {name: job[name] for name in same} == {name: first[name] for name in same}
    row, origin = reading.get(stage.here.database, job["id"]), reading.get(stage.here.database, first["id"])
    assert row is not None
    assert origin is not None
    assert (row.inputs, row.params) == (origin.inputs, origin.params)


def test_given_a_rerun_with_a_key_then_its_replay_is_the_same_job(stage: Stage) -> None:
    job = stage.submit()
    headers = {"Idempotency-Key": "again"}
    first = stage.post(f"/v1/jobs/{job['id']}:rerun", headers=headers).json
    assert stage.post(f"/v1/jobs/{job['id']}:rerun", headers=headers).json == first
    other = stage.submit()
    problem(stage.post(f"/v1/jobs/{other['id']}:rerun", headers=headers), 422, "idempotency-key-reused")


def test_given_inputs_that_were_deleted_then_rerun_is_refused(stage: Stage) -> None:
    job = stage.submit(inputs=[stage.upload()])
    stage.end(job["id"])
    retention.forget_inputs(stage.here.database, older_s=-1)
    problem(stage.post(f"/v1/jobs/{job['id']}:rerun"), 422, "unknown-file")


def test_given_another_callers_job_then_rerun_is_404_and_for_an_admin_it_needs_the_files(stage: Stage) -> None:
    job = stage.submit(inputs=[stage.upload()])
    problem(stage.post(f"/v1/jobs/{job['id']}:rerun", who="rival"), 404, "not-found")
    problem(stage.post(f"/v1/jobs/{job['id']}:rerun", who="admin"), 422, "unknown-file")


def test_given_a_batch_then_each_reference_is_looked_up_once_and_anew_in_the_next_request(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = stage.here.registry.pin

    def pin(reference: str) -> Any:
        asked.append(reference)
        return real(reference)

    monkeypatch.setattr(stage.here.registry, "pin", pin)
    jobs = [
        GOOD,
        GOOD,
        {**GOOD, "model": "pictures@2"},
        {**GOOD, "model": "pictures@2"},
        {**GOOD, "model": "nobody"},
    ] * 3
    stage.post("/v1/jobs:batch", json={"jobs": jobs, "atomic": False})
    assert sorted(asked) == ["nobody", "pictures", "pictures@2"]
    stage.submit()
    assert sorted(asked) == ["nobody", "pictures", "pictures", "pictures@2"]
