"""/v1/datasets, and submissions that name a data set."""

from __future__ import annotations

from typing import Any

import pytest

from api.dataset_schemas import DatasetBody, DatasetList
from db import reading
from jobs.errors import AllItemsFailed, DatasetInvalid
from jobs.states import State
from tests.services.stage import Stage, pointers, problem

READ = {
    "format": "pixels", "fingerprint": "ab" * 32, "counts": {"train": 7, "validation": 2, "test": 3},
    "classes": {"train": {"sick": 3, "well": 4}}, "facts": {"height": 28},
    "warnings": [{"guard": "duplicates", "detail": "Two cases are the same.", "count": 2}], "card": "# Scans",
    "files": ["data.npz"],
}  # fmt: skip


def ready(stage: Stage, name: str = "scans", **rest: Any) -> dict[str, Any]:
    """A data set that was read."""
    made = stage.dataset(name, **rest)
    stage.end(made["job"], item={**READ, "format": made["format"]})
    return made


def teach(stage: Stage, *, who: str = "lab", **params: Any) -> Any:
    body = {"kind": "teaching", "params": {"kind": "picture", "dataset": "scans", **params}}
    return stage.post("/v1/jobs", json=body, who=who)


def test_given_files_when_a_data_set_is_added_then_it_is_validated_by_a_job_and_shown_with_what_was_read(
    stage: Stage,
) -> None:
    made = stage.dataset(options={"classes": ["well", "sick"]})
    DatasetBody.model_validate_json(stage.get("/v1/datasets/scans").text)
    assert (made["state"], made["problems"], made["counts"]) == ("validating", [], None)
    assert (made["format"], made["options"]) == ("pixels", {"classes": ["well", "sick"]})
    assert stage.get(made["links"]["job"]).json["kind"] == "dataset"  # type: ignore[index]
    stage.end(made["job"], item=READ)
    found = stage.get("/v1/datasets/scans")
    DatasetBody.model_validate_json(found.text)
    body = dict(found.json)  # type: ignore[arg-type]
    assert {name: body[name] for name in ("state", "fingerprint", "counts", "card")} == {
        "state": "ready", "fingerprint": "ab" * 32, "counts": READ["counts"], "card": "# Scans",
    }  # fmt: skip
    listed = DatasetList.model_validate_json(stage.get("/v1/datasets").text)
    assert [(one.name, one.state, one.warnings[0].count) for one in listed.datasets] == [("scans", "ready", 2)]


def test_given_files_that_are_no_data_set_then_it_is_rejected_with_its_problems_and_may_be_sent_again(
    stage: Stage,
) -> None:
    first = stage.dataset()
    wrong = [{"file": 0, "row": 7, "column": "label", "detail": "This label is not among the classes."}]
    refused = DatasetInvalid("1 problem.", problems=wrong).as_dict(0)
    stage.end(first["job"], State.FAILED, error=AllItemsFailed("1 problem.", item_errors=[refused]).as_dict())
    body = stage.get("/v1/datasets/scans").json
    assert body is not None
    assert (body["state"], body["problems"]) == ("rejected", wrong)
    again = stage.dataset(content=b"mended")
    assert again["job"] != first["job"]
    assert (again["state"], again["problems"]) == ("validating", [])


def test_given_a_reading_that_was_cancelled_or_broke_off_then_the_problem_says_so(stage: Stage) -> None:
    stage.post(f"/v1/jobs/{stage.dataset('stopped')['job']}:cancel")
    stage.end(stage.dataset("slow")["job"], State.FAILED)
    for name, words in (("stopped", "cancelled"), ("slow", "Too slow.")):
        body = stage.get(f"/v1/datasets/{name}").json
        assert body is not None
        assert body["state"] == "rejected"
        assert words in body["problems"][0]["detail"]


def test_given_the_same_again_then_it_is_the_same_and_other_content_is_refused(stage: Stage) -> None:
    made = ready(stage)
    body = {"name": "scans", "format": "pixels", "files": [stage.upload(b"npz")]}
    same = stage.post("/v1/datasets", json=body)
    assert (same.status_code, same.json["job"], same.json["state"]) == (200, made["job"], "ready")  # type: ignore[index]
    for other in ({"files": [stage.upload(b"other")]}, {"options": {"classes": ["x"]}}, {"format": "letters"}):
        problem(stage.post("/v1/datasets", json={**body, **other}), 409, "dataset-exists")
    assert stage.get("/v1/datasets/scans").json["job"] == made["job"]  # type: ignore[index]


def test_given_two_callers_then_each_has_names_of_its_own(stage: Stage) -> None:
    ready(stage)
    problem(stage.get("/v1/datasets/scans", who="rival"), 404, "not-found")
    problem(stage.call("DELETE", "/v1/datasets/scans", who="rival"), 404, "not-found")
    assert stage.get("/v1/datasets", who="rival").json == {"datasets": []}
    assert pointers(problem(teach(stage, who="rival"), 422, "unknown-dataset")) == ["#/params/dataset"]
    theirs = stage.dataset(who="rival", content=b"theirs")
    assert stage.get("/v1/datasets/scans", who="rival").json["job"] == theirs["job"]  # type: ignore[index]
    assert stage.get("/v1/datasets/scans").json["job"] != theirs["job"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        ({"name": "a/b"}, "invalid-request", ["#/name"]),
        ({"name": "a@1"}, "invalid-request", ["#/name"]),
        ({"name": ""}, "invalid-request", ["#/name"]),
        ({"files": []}, "invalid-request", ["#/files"]),
        ({"files": ["sha256:xyz"]}, "invalid-inputs", ["#/files/0"]),
        ({"files": [f"sha256:{'0' * 64}"]}, "unknown-file", ["#/files/0"]),
        ({"files": [{"archive": "x"}]}, "invalid-request", ["#/files/0"]),
        ({"format": "parchment"}, "invalid-request", ["#/format"]),
        ({"options": {"classes": 3}}, "invalid-request", ["#/options/classes"]),
        ({"options": {"surprise": 3}}, "invalid-request", ["#/options"]),
        ({"surprise": 3}, "invalid-request", ["#"]),
    ],
)
def test_given_a_bad_body_then_422_points_at_it(stage: Stage, change: Any, code: str, where: list[str]) -> None:
    body = {"name": "scans", "format": "pixels", "files": [stage.upload()], **change}
    assert pointers(problem(stage.post("/v1/datasets", json=body), 422, code)) == where
    assert stage.get("/v1/datasets").json == {"datasets": []}


def test_given_another_callers_file_then_it_is_unknown(stage: Stage) -> None:
    body = {"name": "scans", "format": "pixels", "files": [stage.upload(b"secret", who="rival")]}
    problem(stage.post("/v1/datasets", json=body), 422, "unknown-file")


def test_given_a_ready_data_set_when_a_job_names_it_then_the_job_is_pinned_to_what_was_read(stage: Stage) -> None:
    made = ready(stage)
    job = teach(stage, parent="pictures@candidate").json
    row = reading.get(stage.here.database, job["id"])
    assert row is not None
    assert row.pins == {
        "dataset": {"id": made["job"], "name": "scans", "fingerprint": "ab" * 32},
        "parent": {"name": "pictures", "version": 2},
    }
    again = stage.post(f"/v1/jobs/{job['id']}:rerun").json
    assert again is not None
    copy = reading.get(stage.here.database, again["id"])
    assert copy is not None
    assert copy.pins == row.pins


def test_given_no_such_reference_or_one_that_does_not_fit_then_the_submission_is_refused(stage: Stage) -> None:
    assert pointers(problem(teach(stage), 422, "unknown-dataset")) == ["#/params/dataset"]
    waiting = stage.dataset()
    assert pointers(problem(teach(stage), 409, "dataset-not-ready")) == ["#/params/dataset"]
    stage.end(waiting["job"], State.FAILED)
    body = problem(teach(stage), 409, "dataset-not-ready")
    assert "rejected" in body["errors"][0]["detail"]
    ready(stage)
    assert pointers(problem(teach(stage, parent="pictures@9"), 422, "unknown-model")) == ["#/params/parent"]
    assert pointers(problem(teach(stage, parent="strangers"), 422, "model-of-other-kind")) == ["#/params/parent"]
    ready(stage, "words", format="letters", content=b"words")
    assert pointers(problem(teach(stage, dataset="words"), 422, "dataset-of-other-format")) == ["#/params/dataset"]
    jobs = [{"kind": "teaching", "params": {"kind": "picture", "dataset": name}} for name in ("scans", "nowhere")]
    batch = problem(stage.post("/v1/jobs:batch", json={"jobs": jobs}), 422, "unknown-dataset")
    assert pointers(batch) == ["#/jobs/1/params/dataset"]


def test_given_a_name_that_is_somebody_elses_or_of_another_kind_then_no_training_may_take_it(stage: Stage) -> None:
    ready(stage)
    assert pointers(problem(teach(stage, name="pictures"), 403, "not-owner")) == ["#/params/name"]
    ready(stage, who="admin")
    assert teach(stage, who="admin", name="pictures").status_code == 202
    problem(teach(stage, who="admin", name="strangers"), 422, "model-of-other-kind")
    assert pointers(problem(teach(stage, name="a b"), 422, "invalid-request")) == ["#/params/name"]


def test_given_a_job_that_needs_it_then_a_data_set_stays_until_that_has_ended(stage: Stage) -> None:
    made = ready(stage)
    job = teach(stage).json
    problem(stage.call("DELETE", "/v1/datasets/scans"), 409, "dataset-in-use")
    problem(stage.call("DELETE", f"/v1/jobs/{made['job']}"), 409, "job-in-use")
    stage.post(f"/v1/jobs/{job['id']}:cancel")
    assert stage.call("DELETE", "/v1/datasets/scans").status_code == 204
    problem(stage.get("/v1/datasets/scans"), 404, "not-found")
    problem(stage.call("DELETE", "/v1/datasets/scans"), 404, "not-found")
    again = stage.post(f"/v1/jobs/{job['id']}:rerun")
    assert (again.status_code, problem(teach(stage), 422, "unknown-dataset")["status"]) == (202, 422)
    problem(stage.call("DELETE", f"/v1/jobs/{made['job']}"), 409, "job-in-use")
    stage.post(f"/v1/jobs/{again.json['id']}:cancel")
    assert stage.call("DELETE", f"/v1/jobs/{made['job']}").status_code == 204
    assert pointers(problem(stage.post(f"/v1/jobs/{job['id']}:rerun"), 422, "unknown-dataset")) == ["#/params/dataset"]


def test_given_a_token_that_only_reads_then_data_sets_are_read_and_not_changed(stage: Stage) -> None:
    ready(stage)
    assert stage.get("/v1/datasets/scans", who="reader").status_code == 200
    problem(stage.call("DELETE", "/v1/datasets/scans", who="reader"), 403, "missing-scope")
    problem(stage.post("/v1/datasets", who="reader", json={}), 403, "missing-scope")
    problem(stage.get("/v1/datasets", who="sender"), 403, "missing-scope")
