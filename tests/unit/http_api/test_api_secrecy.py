"""A name planted wherever a caller may put text comes back in no error, no log line and no metric."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from tests.services.stage import Stage

NAME = "DOE^JANE"

BODIES: list[Any] = [
    {"kind": NAME},
    {"kind": "picture", NAME: 1},
    {"kind": "picture", "model": NAME, "inputs": [{"data": {"Age": 1}}]},
    {"kind": "picture", "model": f"pictures@{NAME}", "inputs": []},
    {"kind": "picture", "inputs": [NAME]},
    {"kind": "picture", "inputs": [{NAME: 1}]},
    {"kind": "picture", "inputs": [{"archive": NAME}]},
    {"kind": "picture", "inputs": [{"data": {NAME: NAME, "Age": NAME}}]},
    {"kind": "picture", "inputs": [{"data": {"Age": 1, "visits": [{NAME: 1, "ratio": NAME}]}}]},
    {"kind": "picture", "params": {NAME: 1}},
    {"kind": "picture", "params": {"mode": NAME}},
    {"kind": "picture", "params": {"nested": {NAME: NAME}}},
    {"kind": "picture", "params": NAME},
    {"kind": "picture", "labels": {NAME: 1}},
    {"kind": "picture", "labels": {NAME: NAME + "\u0007"}},
    {"kind": "picture", "labels": {NAME + "\n": "x"}},
    {"kind": "picture", "labels": {NAME * 20: "x"}},
    {"kind": "picture", "run_after": NAME},
    {"kind": "picture", "callback_url": f"https://{NAME}:pw@x/"},
    {"kind": "picture", "callback_url": f"http://{NAME}/"},
    {"kind": "picture", "priority": NAME},
    [NAME],
    NAME,
    {"jobs": [{NAME: NAME}], NAME: 1},
    {"jobs": NAME},
    {"jobs": [{"kind": "picture", "idempotency_key": f"{NAME} \u00e9"}]},
]

QUERIES = [
    f"/v1/jobs?{NAME}=1",
    f"/v1/jobs?kind={NAME}%00",
    f"/v1/jobs?state={NAME}",
    f"/v1/jobs?cursor={NAME}",
    f"/v1/jobs?label.{NAME}={NAME}&label.{NAME}=2",
    f"/v1/jobs?created_after={NAME}",
    f"/v1/jobs?limit={NAME}",
    f"/v1/{NAME}",
    f"/v1/jobs/{NAME}",
    f"/v1/files/{NAME}",
    f"/v1/kinds/{NAME}",
    f"/v1/models/{NAME}/versions/1",
    f"/v1/models/{NAME}/versions/{NAME}",
    f"/{NAME}?{NAME}",
]


@pytest.fixture
def watched(stage: Stage, caplog: pytest.LogCaptureFixture) -> Any:
    """The stage; afterwards nothing that was logged or counted holds the name."""
    caplog.set_level(logging.DEBUG)
    yield stage
    logged = "\n".join(f"{record.getMessage()} {record.args} {record.exc_text}" for record in caplog.records)
    assert "DOE" not in logged
    metrics = stage.client.get("/metrics").text
    assert "medjobs_http_request_duration_seconds_count" in metrics
    assert "DOE" not in metrics


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs:batch"])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: json.dumps(body)[:50])
def test_given_a_name_in_a_bad_body_then_no_answer_repeats_it(watched: Stage, path: str, body: Any) -> None:
    answer = watched.post(path, json=body)
    assert 400 <= answer.status_code < 500
    assert "DOE" not in answer.text
    assert "JANE" not in answer.text


@pytest.mark.parametrize("path", QUERIES)
def test_given_a_name_in_a_url_then_no_answer_repeats_it(watched: Stage, path: str) -> None:
    for method in ("GET", "POST", "PATCH"):
        answer = watched.call(method, path)
        assert 400 <= answer.status_code < 500
        assert "DOE" not in answer.text


def test_given_a_name_in_files_and_headers_then_no_answer_repeats_it(watched: Stage) -> None:
    answers = [
        watched.post("/v1/jobs", data={"kind": "no", "file": (io.BytesIO(b"x"), f"{NAME}.dcm")}),
        watched.post("/v1/jobs", data={"kind": "picture", "params": NAME}),
        watched.post("/v1/jobs", data={"kind": "picture", NAME: NAME}),
        watched.post("/v1/jobs", data={NAME: (io.BytesIO(b"x"), NAME)}),
        watched.post("/v1/files", data={NAME: (io.BytesIO(b"x"), NAME)}),
        watched.post("/v1/files", data=b"x", headers={"X-Content-SHA256": NAME}),
        watched.post("/v1/files", data=b"x", headers={"Content-Digest": NAME}),
        watched.post("/v1/jobs", json={"kind": "picture"}, headers={"Idempotency-Key": f"{NAME} {NAME}"}),
        watched.get("/v1/jobs", who=None, headers={"Authorization": f"Bearer {NAME}"}),
        watched.post("/v1/files", data=b"x", headers={"Content-Type": f"multipart/form-data; boundary={NAME}"}),
    ]
    for answer in answers:
        assert 400 <= answer.status_code < 500
        assert "DOE" not in answer.text


def test_given_a_name_in_a_good_job_then_only_its_owner_reads_it(watched: Stage) -> None:
    job = watched.submit(labels={"patient": NAME}, inputs=[{"data": {"Age": 1}}])
    assert watched.get(f"/v1/jobs/{job['id']}").json["labels"] == {"patient": NAME}  # type: ignore[index]
    assert watched.get(f"/v1/jobs?label.patient={NAME}").json["jobs"] != []  # type: ignore[index]
    assert "DOE" not in watched.get(f"/v1/jobs/{job['id']}/result").text


def test_given_a_validator_that_quotes_the_value_then_its_message_is_replaced() -> None:
    from pydantic import BaseModel, ValidationError, field_validator

    from api.validation import GENERIC, field_errors

    class Chatty(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def _refuse(cls, value: str) -> str:
            raise ValueError(f"{value} is no name")

    with pytest.raises(ValidationError) as caught:
        Chatty.model_validate({"name": NAME})
    [error] = field_errors(caught.value, Chatty, {"name": NAME})
    assert error == ("#/name", GENERIC)
