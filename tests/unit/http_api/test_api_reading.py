"""Jobs, lists, results, artifacts and reports as callers read them."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from api.model_schemas import KindList, ModelDetail, ModelList, VersionBody
from api.schemas import JobBody, JobList, WorkerBody, WorkerList
from db import audit, jobs, workers
from db.records import Completion, Release
from jobs.states import Outcome, State
from tests.services.stage import Stage, pointers, problem


def ids(answer: Any) -> list[str]:
    return [job["id"] for job in answer.json["jobs"]]


def test_given_a_job_then_its_caller_and_an_admin_see_it_and_nobody_else(stage: Stage) -> None:
    job = stage.submit(labels={"study": "A"})
    assert stage.get(f"/v1/jobs/{job['id']}").json == job
    assert stage.get(f"/v1/jobs/{job['id']}", who="admin").json == job
    problem(stage.get(f"/v1/jobs/{job['id']}", who="rival"), 404, "not-found")
    assert ids(stage.get("/v1/jobs", who="rival")) == []
    assert ids(stage.get("/v1/jobs", who="admin")) == [job["id"]]


def test_given_a_job_in_every_state_then_the_answer_has_the_documented_shape(stage: Stage) -> None:
    made = [stage.submit() for _ in range(5)]
    stage.start(made[1]["id"])
    stage.end(made[2]["id"])
    stage.end(made[3]["id"], State.FAILED)
    stage.post(f"/v1/jobs/{made[4]['id']}:cancel")
    for job, state in zip(made, ("queued", "running", "succeeded", "failed", "cancelled"), strict=True):
        answer = stage.get(f"/v1/jobs/{job['id']}")
        body = JobBody.model_validate_json(answer.text)
        assert body.state == state
        assert ("Retry-After" in answer.headers) == (state in ("queued", "running"))
        assert all(len(stamp) == 27 for stamp in (answer.json["created_at"],))  # type: ignore[index]
    failed = stage.get(f"/v1/jobs/{made[3]['id']}").json
    assert failed is not None
    assert failed["error"]["code"] == "timeout"
    assert [(one["number"], one["worker"], one["outcome"]) for one in failed["attempts"]] == [(1, "w1", "failed")]
    JobList.model_validate_json(stage.get("/v1/jobs").text)


def test_given_filters_then_only_matching_jobs_are_listed_newest_first(stage: Stage) -> None:
    a = stage.submit(labels={"study": "A", "site": 'quo"te'})["id"]
    time.sleep(0.01)
    b = stage.submit(labels={"study": "B"}, model="pictures@2")["id"]
    time.sleep(0.01)
    c = stage.submit(kind="nothing", inputs=[])["id"]
    stage.end(b)
    middle = stage.get(f"/v1/jobs/{b}").json
    assert middle is not None
    expected = {
        "": [c, b, a],
        "?state=queued": [c, a],
        "?state=queued&state=succeeded": [c, b, a],
        "?state=failed": [],
        "?kind=picture": [b, a],
        "?kind=unheard-of": [],
        "?model=pictures": [b, a],
        "?model=pictures@2": [b],
        "?label.study=A": [a],
        "?label.study=A&label.site=quo%22te": [a],
        "?label.study=A&label.site=x": [],
        f"?created_after={middle['created_at']}": [c],
        "?created_after=2001-01-01T00:00:00Z&limit=2": [c, b],
    }
    for query, found in expected.items():
        assert ids(stage.get(f"/v1/jobs{query}")) == found, query


def test_given_many_jobs_then_cursors_walk_all_of_them_once(stage: Stage) -> None:
    stage.post("/v1/jobs:batch", json={"jobs": [{"kind": "nothing"}] * 25})
    seen: list[str] = []
    cursor, pages = "", 0
    while cursor is not None:
        answer = stage.get(f"/v1/jobs?limit=10{f'&cursor={cursor}' if cursor else ''}")
        seen, cursor, pages = seen + ids(answer), answer.json["next"], pages + 1  # type: ignore[index]
        stage.submit()  # what is submitted meanwhile is newer, and shifts nothing
    assert pages == 3
    assert len(seen) == len(set(seen)) == 25


def test_given_a_cursor_that_was_tampered_with_then_422(stage: Stage) -> None:
    stage.post("/v1/jobs:batch", json={"jobs": [{"kind": "nothing"}] * 3})
    cursor = stage.get("/v1/jobs?limit=1").json["next"]  # type: ignore[index]
    assert stage.get(f"/v1/jobs?limit=1&cursor={cursor}").status_code == 200
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for position in range(len(raw)):
        flipped = raw.copy()
        flipped[position] ^= 1
        text = base64.urlsafe_b64encode(bytes(flipped)).decode().rstrip("=")
        body = problem(stage.get(f"/v1/jobs?cursor={text}"), 422, "invalid-cursor")
        assert pointers(body) == ["#/query/cursor"]
    for text in ("x", "%20", "AAAA", cursor[:-4], "é", "A" * 400):
        problem(stage.get(f"/v1/jobs?cursor={text}"), 422, "invalid-cursor")
    problem(stage.get(f"/v1/jobs?kind=picture&cursor={cursor}"), 422, "invalid-cursor")
    problem(stage.get(f"/v1/jobs?cursor={cursor}", who="rival"), 422, "invalid-cursor")


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("state=sleeping", "#/query/state/0"),
        ("limit=0", "#/query/limit"),
        ("limit=501", "#/query/limit"),
        ("limit=ten", "#/query/limit"),
        ("limit=1&limit=2", "#/query/limit"),
        ("created_after=yesterday", "#/query/created_after"),
        ("created_after=1700000000", "#/query/created_after"),
        ("created_after=2024-01-01T00:00:00", "#/query/created_after"),
        ("model=m@latest", "#/query/model"),
        ("surprise=1", "#/query"),
        ("label.=x", "#/query/labels"),
        ("labels=x", "#/query"),
        ("kind=%00", "#/query"),
        ("label.a=%1b", "#/query"),
        ("kind=" + "x" * 200, "#/query/kind"),
    ],
)
def test_given_a_bad_query_then_422_points_at_it(stage: Stage, query: str, where: str) -> None:
    assert pointers(problem(stage.get(f"/v1/jobs?{query}"), 422, "invalid-request")) == [where]


@pytest.mark.parametrize("wait", ["-1", "61", "NaN", "inf", "soon", "1&wait=2"])
def test_given_a_bad_wait_then_422(stage: Stage, wait: str) -> None:
    body = problem(stage.get(f"/v1/jobs/{stage.submit()['id']}?wait={wait}"), 422, "invalid-request")
    assert pointers(body) == ["#/query/wait"]


def test_given_jobs_without_a_result_then_409_says_which_sort(stage: Stage) -> None:
    waiting, running, failed, cancelled = (stage.submit()["id"] for _ in range(4))
    stage.start(running)
    stage.end(failed, State.FAILED)
    stage.post(f"/v1/jobs/{cancelled}:cancel")
    for path in ("result", "artifacts/report.html", "artifacts/x.png"):
        answer = stage.get(f"/v1/jobs/{waiting}/{path}")
        problem(answer, 409, "job-not-finished")
        assert int(answer.headers["Retry-After"]) >= 1
        problem(stage.get(f"/v1/jobs/{running}/{path}"), 409, "job-not-finished")
        body = problem(stage.get(f"/v1/jobs/{failed}/{path}"), 409, "job-failed")
        assert "Too slow." in body["detail"]
        assert body["error"]["code"] == "timeout"
        problem(stage.get(f"/v1/jobs/{cancelled}/{path}"), 409, "job-cancelled")


def test_given_a_result_then_it_and_its_files_can_be_read_and_each_read_is_audited(stage: Stage) -> None:
    job = stage.submit(labels={"<b>": "<script>alert(1)</script>"})["id"]
    stage.end(job, files={"overlay-0.png": ("image/png", b"\x89PNG..."), "table.csv": ("text/csv", b"a,b")})
    result = stage.get(f"/v1/jobs/{job}/result").json
    assert result is not None
    assert result["items"] == [{"score": 0.25}]
    picture = stage.get(result["artifacts"][0]["href"])
    assert (picture.status_code, picture.data, picture.content_type) == (200, b"\x89PNG...", "image/png")
    assert picture.headers["Content-Disposition"].startswith("inline")
    table = stage.get(f"/v1/jobs/{job}/artifacts/table.csv")
    assert table.headers["Content-Disposition"].startswith("attachment")
    problem(stage.get(f"/v1/jobs/{job}/artifacts/other.png"), 404, "not-found")
    problem(stage.get(f"/v1/jobs/{job}/artifacts/..%2f..%2fmedjobs.db"), 404, "not-found")
    problem(stage.get(f"/v1/jobs/{job}/result", who="rival"), 404, "not-found")
    acts = [(act.caller, act.action) for act in audit.listing(stage.here.database, object=job)]
    assert acts == [("imaging-lab", "result.read"), ("imaging-lab", "submit")]
    read = audit.listing(stage.here.database, object=f"{job}/overlay-0.png")
    assert [(act.caller, act.action) for act in read] == [("imaging-lab", "artifact.read")]


def test_given_a_running_job_that_shows_a_file_then_its_owner_can_have_it_until_the_job_ends(stage: Stage) -> None:
    """Given a picture shown by an attempt that is dead by now, then it is served all the same; when the job has failed
    it is served no more, and when it succeeds the artifact of the result is."""
    job = stage.submit()["id"]
    fence, here = stage.start(job), stage.here
    href = f"/v1/jobs/{job}/artifacts/gan-000040.png"
    here.storage.put_artifact(job, fence, "gan-000040.png", b"\x89PNG 40")
    problem(stage.get(href), 409, "job-not-finished")  # the file alone is nothing
    shown = {"name": "gan-000040.png", "media_type": "image/png", "href": href, "step": 40}
    assert jobs.append_events(here.database, job, fence, [("artifact", shown)])
    for _ in ("running", "queued"):
        picture = stage.get(href)
        assert (picture.status_code, picture.data, picture.content_type) == (200, b"\x89PNG 40", "image/png")
        assert picture.headers["Content-Disposition"] == 'inline; filename="gan-000040.png"'
        assert picture.headers["Content-Security-Policy"]
        jobs.release(here.database, [Release(job, fence, Outcome.DRAINED, charge=False)])
    problem(stage.get(href, who="rival"), 404, "not-found")
    problem(stage.get(href, who=None), 401, "unauthenticated")
    problem(stage.get(f"/v1/jobs/{job}/artifacts/other.png"), 409, "job-not-finished")
    problem(stage.get(f"/v1/jobs/{job}/artifacts/..%2f..%2fmedjobs.db"), 404, "not-found")
    read = audit.listing(here.database, object=f"{job}/gan-000040.png")
    assert [act.action for act in read] == ["artifact.read", "artifact.read"]
    stage.end(job, files={"gan-000040.png": ("image/png", b"\x89PNG of the end")})
    assert stage.get(href).data == b"\x89PNG of the end"
    told = stage.get(f"/v1/jobs/{job}/events").text
    assert "event: artifact\n" in told
    (line,) = (line for line in told.splitlines() if "gan-000040.png" in line)
    assert json.loads(line.removeprefix("data: "))["step"] == 40

    failed = stage.submit()["id"]
    fence = stage.start(failed)
    here.storage.put_artifact(failed, fence, "a.png", b"a")
    assert jobs.append_events(here.database, failed, fence, [("artifact", {**shown, "name": "a.png"})])
    done = Completion(failed, fence, State.FAILED, error={"code": "timeout", "detail": "Too slow."})
    jobs.complete(here.database, [done])
    problem(stage.get(f"/v1/jobs/{failed}/artifacts/a.png"), 409, "job-failed")


def test_given_a_succeeded_job_then_its_report_shows_all_and_runs_nothing(stage: Stage) -> None:
    job = stage.submit(labels={"<b>": "<script>alert(1)</script>"})["id"]
    stage.end(job, files={"overlay-0.png": ("image/png", b"\x89PNG...")})
    answer = stage.get(f"/v1/jobs/{job}/artifacts/report.html")
    page = answer.text
    assert answer.content_type == "text/html; charset=utf-8"
    assert base64.b64encode(b"\x89PNG...").decode() in page
    assert "0.25" in page
    assert "Research use only" in page
    assert "<script" not in page
    assert "http:" not in page.replace("http-equiv", "")
    assert "https:" not in page
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "script-src" not in policy


def test_given_bytes_that_vanished_then_404_and_not_500(stage: Stage) -> None:
    job = stage.submit()["id"]
    stage.end(job, files={"a.png": ("image/png", b"x")})
    stage.here.storage.delete_job(job)
    problem(stage.get(f"/v1/jobs/{job}/artifacts/a.png"), 404, "not-found")


def test_kinds_come_from_the_registry_with_their_schemas_and_models(stage: Stage) -> None:
    listed = KindList.model_validate_json(stage.get("/v1/kinds").text)
    assert [kind.name for kind in listed.kinds] == ["picture", "files-only", "nothing", "dataset", "teaching"]
    kind = stage.get("/v1/kinds/picture").json
    assert kind is not None
    assert kind["params"]["properties"]["level"]["maximum"] == 5
    assert kind["input"]["required"] == ["Age"]
    assert kind["result"]["$defs"]["Item"]["properties"]["score"] == {"title": "Score", "type": "number"}
    assert [(one["name"], one["version"], one["aliases"]) for one in kind["models"]] == [
        ("pictures", 2, ["candidate"]), ("pictures", 1, ["production"]),
    ]  # fmt: skip


def test_a_kind_says_how_it_is_trained_and_what_an_own_model_must_say(stage: Stage) -> None:
    kind = stage.get("/v1/kinds/picture").json
    assert kind is not None
    assert (kind["trainable"], kind["formats"], kind["joined"], kind["many"]) == (True, ["images"], False, False)
    assert kind["recipes"]["small"]["defaults"] == {"epochs": 3}
    assert kind["recipes"]["small"]["schema"]["properties"]["epochs"]["minimum"] == 1
    assert kind["contract"]["required"] == ["rows"]
    other = stage.get("/v1/kinds/dataset").json
    assert other is not None
    assert (other["trainable"], other["recipes"], other["contract"], other["joined"]) == (False, {}, None, True)


def test_models_show_versions_and_aliases(stage: Stage) -> None:
    listed = ModelList.model_validate_json(stage.get("/v1/models").text)
    assert [(model.name, model.aliases) for model in listed.models] == [
        ("pictures", {"production": 1, "candidate": 2}), ("strangers", {"production": 1}),
    ]  # fmt: skip
    detail = ModelDetail.model_validate_json(stage.get("/v1/models/pictures").text)
    assert [(version.version, version.aliases) for version in detail.versions] == [
        (2, ["candidate"]),
        (1, ["production"]),
    ]
    assert (detail.yours, detail.gate) == (False, None)
    one = VersionBody.model_validate_json(stage.get("/v1/models/pictures/versions/2").text)
    assert one.manifest["summary"] == "pictures 2"
    for path in ("pictures/versions/3", "no-such", "no-such/versions/1", "pictures/versions/99999999999999999999"):
        problem(stage.get(f"/v1/models/{path}"), 404, "not-found")


def test_workers_show_job_ids_to_their_owners_alone(stage: Stage) -> None:
    job = stage.submit()["id"]
    worker = workers.Worker(id="w-1", host="gpu1", pid=1, pool="inference", device="cuda:0", memory={"rss": 5})
    workers.register(stage.here.database, worker)
    workers.heartbeat(stage.here.database, "w-1", [job], {"rss": 6}, "busy")
    for who, shown in (("lab", [job]), ("rival", []), ("admin", [job])):
        answer = stage.get("/v1/workers", who=who)
        WorkerList.model_validate_json(answer.text)
        [one] = answer.json["workers"]  # type: ignore[index]
        assert (one["host"], one["device"], one["running"], one["jobs"]) == ("gpu1", "cuda:0", 1, shown)


def test_a_job_names_its_queue_and_workers_what_they_serve_and_how_the_one_before_ended(stage: Stage) -> None:
    """Given a worker of the release before, one of this and a place that cannot start, then each tells its queues."""
    job = stage.submit()
    assert job["queue"] == "medjobs.inference"
    ended = {"reason": "killed by SIGKILL (9)", "at": 1_700_000_000.0, "after_s": 2.0}
    facts = {"queues": ["gpu-8", "gpu", "any"], "restarts": 2, "last_exit": ended}
    for name, told, state in (("w-0", {}, "running"), ("w-1", facts, "running"), ("w-2", facts, "restarting")):
        workers.register(stage.here.database, workers.Worker(name, "gpu1", 1, "inference", "cuda:0", told, state=state))
    answer = stage.get("/v1/workers")
    WorkerList.model_validate_json(answer.text)
    old, new, dead = answer.json["workers"]  # type: ignore[index]
    assert (old["queues"], old["restarts"], old["last_exit"]) == (["medjobs.inference"], 0, None)
    assert new["queues"] == ["medjobs.inference.gpu-8", "medjobs.inference.gpu", "medjobs.inference"]
    assert (new["restarts"], new["last_exit"]["reason"]) == (2, "killed by SIGKILL (9)")
    assert new["last_exit"]["at"].startswith("2023-11-14T22:13:20")
    assert (dead["queues"], dead["state"]) == ([], "restarting")


def test_a_job_of_a_version_that_declares_its_size_waits_in_the_queue_of_that_class(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a version whose manifest asks for a GPU and 10 GiB, then its jobs wait for cards of 16 GiB, a rerun too,
    and those of another version of the model do not."""
    get = stage.here.registry.get

    def declared(name: str, number: int) -> Any:
        found = get(name, number)
        asks = {"device": "gpu", "memory_bytes": 10 << 30} if number == 2 else {}
        return replace(found, manifest={**found.manifest, **asks})

    monkeypatch.setattr(stage.here.registry, "get", declared)
    job = stage.submit(model="pictures@2")
    assert job["queue"] == "medjobs.inference.gpu-16"
    assert stage.submit(model="pictures@1")["queue"] == "medjobs.inference"
    assert stage.post(f"/v1/jobs/{job['id']}:rerun").json["queue"] == "medjobs.inference.gpu-16"  # type: ignore[index]


def test_given_a_running_job_then_progress_is_shown(stage: Stage) -> None:
    job = stage.submit()["id"]
    fence = stage.start(job)
    jobs.progress(stage.here.database, job, fence, fraction=0.4, stage="predict", message="2 of 5 items")
    body = stage.get(f"/v1/jobs/{job}").json
    assert body is not None
    assert body["progress"] == {"fraction": 0.4, "stage": "predict", "message": "2 of 5 items"}


def test_an_admin_drains_a_worker_and_the_trail_says_who(stage: Stage) -> None:
    database, name = stage.here.database, "gpu1:inference:0:abc123"
    workers.register(database, workers.Worker(id=name, host="gpu1", pid=1, pool="inference", device="cuda:0"))
    problem(stage.post(f"/v1/workers/{name}:drain"), 403, "missing-scope")
    assert workers.heartbeat(database, name, [], {}, "running") == "run"
    for _ in range(2):
        answer = stage.post(f"/v1/workers/{name}:drain", who="admin")
        assert answer.status_code == 202
        assert WorkerBody.model_validate_json(answer.text).state == "draining"
    assert workers.heartbeat(database, name, [], {}, "running") == "drain"
    assert [one["state"] for one in stage.get("/v1/workers").json["workers"]] == ["draining"]  # type: ignore[index]
    trail = audit.listing(database, object=name)
    assert [(act.caller, act.action) for act in trail] == [("root", "drain"), ("root", "drain")]


def test_a_worker_that_has_gone_or_never_was_cannot_be_drained(stage: Stage) -> None:
    workers.register(stage.here.database, workers.Worker(id="w-1", host="gpu1", pid=1, pool="long", device="cpu"))
    workers.gone(stage.here.database, "w-1")
    for name in ("w-1", "nobody"):
        problem(stage.post(f"/v1/workers/{name}:drain", who="admin"), 404, "not-found")
