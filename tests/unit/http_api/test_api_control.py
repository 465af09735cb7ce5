"""Cancel and delete."""

from __future__ import annotations

from db import audit, jobs
from jobs.states import State
from tests.services.stage import Stage, problem


def acts(stage: Stage, job: str) -> list[str]:
    return [act.action for act in audit.listing(stage.here.database, object=job)][::-1]


def test_given_a_waiting_job_when_cancelled_twice_then_202_twice(stage: Stage) -> None:
    job = stage.submit()["id"]
    for _ in range(2):
        answer = stage.post(f"/v1/jobs/{job}:cancel")
        assert (answer.status_code, answer.json["state"]) == (202, "cancelled")  # type: ignore[index]
    assert acts(stage, job) == ["submit", "cancel", "cancel"]


def test_given_a_running_job_when_cancelled_then_its_worker_is_told(stage: Stage) -> None:
    job = stage.submit()["id"]
    fence = stage.start(job)
    body = stage.post(f"/v1/jobs/{job}:cancel").json
    assert body is not None
    assert body["state"] == "running"
    assert body["cancel_requested_at"] is not None
    assert jobs.renew(stage.here.database, "w1", {job: fence}, 60).cancelled == {job}


def test_given_a_job_that_ended_otherwise_when_cancelled_then_409(stage: Stage) -> None:
    for state in (State.SUCCEEDED, State.FAILED):
        job = stage.submit()["id"]
        stage.end(job, state)
        body = problem(stage.post(f"/v1/jobs/{job}:cancel"), 409, "job-ended")
        assert state.value in body["detail"]


def test_given_another_callers_job_then_cancel_and_delete_are_404(stage: Stage) -> None:
    job = stage.submit()["id"]
    problem(stage.post(f"/v1/jobs/{job}:cancel", who="rival"), 404, "not-found")
    problem(stage.call("DELETE", f"/v1/jobs/{job}", who="rival"), 404, "not-found")
    assert acts(stage, job) == ["submit"]
    assert stage.post(f"/v1/jobs/{job}:cancel", who="admin").status_code == 202


def test_given_an_ended_job_when_deleted_then_all_of_it_is_gone(stage: Stage) -> None:
    file = stage.upload(b"pixels")
    job = stage.submit(inputs=[file])["id"]
    stage.end(job, files={"a.png": ("image/png", b"x")})
    assert stage.call("DELETE", f"/v1/jobs/{job}").status_code == 204
    for path in ("", "/result", "/artifacts/a.png", "/artifacts/report.html", "/events"):
        problem(stage.get(f"/v1/jobs/{job}{path}"), 404, "not-found")
    problem(stage.get(f"/v1/files/{file}"), 404, "not-found")
    problem(stage.call("DELETE", f"/v1/jobs/{job}"), 404, "not-found")
    assert stage.here.storage.folders_of_jobs() == []
    assert acts(stage, job) == ["submit", "delete"]


def test_given_an_input_that_another_job_reads_when_deleted_then_the_input_stays(stage: Stage) -> None:
    file = stage.upload(b"pixels")
    first, second = (stage.submit(inputs=[file])["id"] for _ in range(2))
    stage.end(first)
    assert stage.call("DELETE", f"/v1/jobs/{first}").status_code == 204
    assert stage.get(f"/v1/files/{file}").status_code == 200
    assert stage.get(f"/v1/jobs/{second}").status_code == 200


def test_given_a_job_that_has_not_ended_when_deleted_then_409(stage: Stage) -> None:
    waiting, running = stage.submit()["id"], stage.submit()["id"]
    stage.start(running)
    for job, word in ((waiting, "queued"), (running, "running")):
        body = problem(stage.call("DELETE", f"/v1/jobs/{job}"), 409, "job-running")
        assert word in body["detail"]
