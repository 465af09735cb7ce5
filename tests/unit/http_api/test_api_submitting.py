"""POST /v1/jobs: what is accepted, what is refused and with which pointer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from db import audit, depths, reading
from tests.services.stage import Stage, pointers, problem

UNKNOWN_FILE = f"sha256:{'0' * 64}"
DATA = {"data": {"Age": 3}}


def submit(stage: Stage, body: Any, **rest: Any) -> Any:
    return stage.post("/v1/jobs", data=body if isinstance(body, bytes) else json.dumps(body).encode(), **rest)


def test_given_a_submission_when_it_is_good_then_202_with_the_job(stage: Stage) -> None:
    file = stage.upload()
    answer = submit(stage, {
        "kind": "picture", "model": "pictures@candidate", "inputs": [file, {"series": [file]}, {"archive": file}, DATA],
        "params": {"explain": False, "level": 3}, "priority": 9, "labels": {"étude": "Ä 1"}, "seed": 7,
        "run_after": "2030-01-31T08:00:00+02:00", "timeout_s": 12.5, "callback_url": "https://example.org/hook",
    })  # fmt: skip
    assert answer.status_code == 202
    job = answer.json
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert job["state"] == "queued"
    assert job["model"] == {"name": "pictures", "version": 2}
    assert job["submitted_by"] == "imaging-lab"
    assert job["run_after"] == "2030-01-31T06:00:00.000000Z"
    assert (job["priority"], job["seed"], job["timeout_s"], job["labels"]) == (9, 7, 12.5, {"étude": "Ä 1"})
    row = reading.get(stage.here.database, job["id"])
    assert row is not None
    assert row.params == {"explain": False, "level": 3, "mode": "fast", "nested": {"ratio": 0.5}}
    assert row.inputs == [file, {"series": [file]}, {"archive": file}, DATA]
    assert row.callback_url == "https://example.org/hook"


def test_given_only_a_kind_and_an_input_then_the_rest_is_the_kinds_own(stage: Stage) -> None:
    job = stage.submit()
    assert job["model"] == {"name": "pictures", "version": 1}
    assert (job["priority"], job["seed"], job["timeout_s"], job["run_after"]) == (5, 0, 77.0, None)


def test_given_a_kind_without_inputs_or_models_then_it_takes_none(stage: Stage) -> None:
    assert stage.submit(kind="nothing", inputs=[])["model"] is None
    problem(submit(stage, {"kind": "nothing", "inputs": [DATA]}), 422, "invalid-inputs")


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("pictures", 1),
        ("pictures@production", 1),
        ("pictures@candidate", 2),
        ("pictures@1", 1),
        ("pictures@2", 2),
        (None, 1),
    ],
)
def test_given_a_model_reference_then_the_version_is_pinned(stage: Stage, reference: str | None, version: int) -> None:
    assert stage.submit(model=reference)["model"] == {"name": "pictures", "version": version}


BAD: list[tuple[dict[str, Any], str, list[str]]] = [
    ({"kind": "no-such"}, "unknown-kind", ["#/kind"]),
    ({"kind": 3}, "invalid-request", ["#/kind"]),
    ({"model": "no-such"}, "unknown-model", ["#/model"]),
    ({"model": "pictures@9"}, "unknown-model", ["#/model"]),
    ({"model": "pictures@no-alias"}, "unknown-model", ["#/model"]),
    ({"model": "pictures@" + "9" * 150}, "unknown-model", ["#/model"]),
    ({"model": "strangers"}, "model-of-other-kind", ["#/model"]),
    ({"model": "x" * 300}, "invalid-request", ["#/model"]),
    ({"inputs": []}, "invalid-inputs", ["#/inputs"]),
    ({"inputs": [DATA] * 6}, "invalid-inputs", ["#/inputs"]),
    ({"inputs": "sha256"}, "invalid-request", ["#/inputs"]),
    ({"inputs": None}, "invalid-request", ["#/inputs"]),
    ({"inputs": [UNKNOWN_FILE]}, "unknown-file", ["#/inputs/0"]),
    ({"inputs": [DATA, {"series": [UNKNOWN_FILE]}]}, "unknown-file", ["#/inputs/1/series/0"]),
    ({"inputs": [{"archive": UNKNOWN_FILE}]}, "unknown-file", ["#/inputs/0/archive"]),
    ({"inputs": ["sha256:XYZ"]}, "invalid-inputs", ["#/inputs/0"]),
    ({"inputs": [UNKNOWN_FILE.upper()]}, "invalid-inputs", ["#/inputs/0"]),
    (
        {"inputs": [3, None, [], {}, {"data": {"Age": 1}, "archive": "x"}]},
        "invalid-inputs",
        ["#/inputs/0", "#/inputs/1", "#/inputs/2", "#/inputs/3", "#/inputs/4"],
    ),
    (
        {"inputs": [{"series": []}, {"series": "x"}, {"series": [1]}, {"archive": 1}]},
        "invalid-inputs",
        ["#/inputs/0/series", "#/inputs/1/series", "#/inputs/2/series/0", "#/inputs/3/archive"],
    ),
    ({"inputs": [{"data": {"Age": -1}}]}, "invalid-inputs", ["#/inputs/0/data/Age"]),
    ({"inputs": [{"data": {}}]}, "invalid-inputs", ["#/inputs/0/data/Age"]),
    ({"inputs": [{"data": {"Age": "4"}}]}, "invalid-inputs", ["#/inputs/0/data/Age"]),
    ({"inputs": [{"data": []}]}, "invalid-inputs", ["#/inputs/0/data"]),
    (
        {"inputs": [{"data": {"Age": 1, "visits": [{}, {"ratio": 2}]}}]},
        "invalid-inputs",
        ["#/inputs/0/data/visits/1/ratio"],
    ),
    ({"kind": "files-only", "inputs": [DATA]}, "invalid-inputs", ["#/inputs/0/data"]),
    ({"params": {"level": 9}}, "invalid-request", ["#/params/level"]),
    ({"params": {"level": "2"}}, "invalid-request", ["#/params/level"]),
    ({"params": {"explain": "yes"}}, "invalid-request", ["#/params/explain"]),
    ({"params": {"explain": 1}}, "invalid-request", ["#/params/explain"]),
    ({"params": {"mode": "slow"}}, "invalid-request", ["#/params/mode"]),
    ({"params": {"nested": {"ratio": 1.5}}}, "invalid-request", ["#/params/nested/ratio"]),
    ({"params": {"unknown": 1}}, "invalid-request", ["#/params"]),
    ({"params": [1]}, "invalid-request", ["#/params"]),
    ({"priority": 10}, "invalid-request", ["#/priority"]),
    ({"priority": -1}, "invalid-request", ["#/priority"]),
    ({"priority": True}, "invalid-request", ["#/priority"]),
    ({"priority": 1.5}, "invalid-request", ["#/priority"]),
    ({"seed": -1}, "invalid-request", ["#/seed"]),
    ({"seed": 1 << 32}, "invalid-request", ["#/seed"]),
    ({"timeout_s": 0}, "invalid-request", ["#/timeout_s"]),
    ({"timeout_s": 1e9}, "invalid-request", ["#/timeout_s"]),
    ({"run_after": "tomorrow"}, "invalid-request", ["#/run_after"]),
    ({"run_after": 1700000000}, "invalid-request", ["#/run_after"]),
    ({"run_after": "2030-01-31T08:00:00"}, "invalid-request", ["#/run_after"]),
    ({"labels": {"a": 1}}, "invalid-request", ["#/labels"]),
    ({"labels": {"": "x"}}, "invalid-request", ["#/labels"]),
    ({"labels": {"a": "x" * 300}}, "invalid-request", ["#/labels"]),
    ({"labels": {f"l{n}": "x" for n in range(40)}}, "invalid-request", ["#/labels"]),
    ({"labels": {"a": "line\nbreak"}}, "invalid-request", ["#/labels"]),
    ({"labels": {"a": "\u0000"}}, "invalid-request", ["#/labels"]),
    ({"labels": {"a\u0007": "x"}}, "invalid-request", ["#/labels"]),
    ({"labels": {"a": "\ud800"}}, "invalid-request", ["#/labels"]),
    ({"labels": {"a": "\u2028"}}, "invalid-request", ["#/labels"]),
    ({"callback_url": "http://example.org"}, "invalid-request", ["#/callback_url"]),
    ({"callback_url": "https://127.0.0.1/x"}, "invalid-request", ["#/callback_url"]),
    ({"callback_url": "https://[::1]/x"}, "invalid-request", ["#/callback_url"]),
    ({"callback_url": "https://10.0.0.1/x"}, "invalid-request", ["#/callback_url"]),
    ({"callback_url": "https://localhost/x"}, "invalid-request", ["#/callback_url"]),
    ({"callback_url": "https://me:secret@example.org/"}, "invalid-request", ["#/callback_url"]),
    ({"callback_url": "https://example.org:99999/"}, "invalid-request", ["#/callback_url"]),
    ({"callback_url": "file:///etc/passwd"}, "invalid-request", ["#/callback_url"]),
    ({"surprise": 1}, "invalid-request", ["#"]),
    ({"priority": 99, "seed": -1, "surprise": 1}, "invalid-request", ["#/priority", "#/seed", "#"]),
]


@pytest.mark.parametrize(("change", "code", "where"), BAD, ids=lambda value: json.dumps(value)[:60])
def test_given_a_wrong_field_then_422_points_at_it_and_nothing_is_queued(
    stage: Stage, change: dict[str, Any], code: str, where: list[str]
) -> None:
    body = problem(submit(stage, {"kind": "picture", "inputs": [DATA], **change}), 422, code)
    assert pointers(body) == where
    assert depths.queue_depths(stage.here.database) == []


def test_given_another_callers_file_then_it_is_unknown(stage: Stage) -> None:
    file = stage.upload(who="rival")
    body = problem(submit(stage, {"kind": "picture", "inputs": [DATA, file]}), 422, "unknown-file")
    assert pointers(body) == ["#/inputs/1"]


def test_given_an_unknown_kind_then_the_known_ones_are_named(stage: Stage) -> None:
    body = problem(submit(stage, {"kind": "picturs", "inputs": [DATA]}), 422, "unknown-kind")
    assert "picture" in body["errors"][0]["detail"]
    body = problem(submit(stage, {"kind": "picture", "model": "pictures@9", "inputs": [DATA]}), 422, "unknown-model")
    assert "pictures@candidate" in body["errors"][0]["detail"]


RAW: list[tuple[bytes, int, str]] = [
    (b"", 400, "invalid-json"),
    (b"{", 400, "invalid-json"),
    (b"kind=picture", 400, "invalid-json"),
    (b"\xff\xfe{}", 400, "invalid-json"),
    (b'{"params": {"level": NaN}}', 400, "invalid-json"),
    (b'{"params": {"level": -Infinity}}', 400, "invalid-json"),
    (b'{"params": {"level": 1e999}}', 400, "invalid-json"),
    (b'{"seed": ' + b"9" * 5000 + b"}", 400, "invalid-json"),
    (b'{"kind": "picture"} trailing', 400, "invalid-json"),
    (b'{"params": ' + b"[" * 50 + b"]" * 50 + b"}", 400, "nesting-too-deep"),
    (b'{"inputs": ' + b'{"data":' * 33 + b"1" + b"}" * 33 + b"}", 400, "nesting-too-deep"),
    (b"[" * 100_000, 400, "nesting-too-deep"),
    (b'{"kind": "a", "kind": "b"}', 422, "invalid-request"),
    (b'{"labels": {"a": "1", "a": "2"}}', 422, "invalid-request"),
    (b'{"inputs": [{"data": {"Age": 1, "x": "\\u0000"}}]}', 422, "invalid-request"),
    (b'{"inputs": [{"data": {"\\u0001": 1}}]}', 422, "invalid-request"),
    (b"[]", 422, "invalid-request"),
    (b'"text"', 422, "invalid-request"),
    (b"null", 422, "invalid-request"),
    (b"3", 422, "invalid-request"),
]


@pytest.mark.parametrize(("raw", "status", "code"), RAW, ids=lambda value: repr(value)[:40])
def test_given_a_body_that_is_no_submission_then_it_is_refused(
    stage: Stage, raw: bytes, status: int, code: str
) -> None:
    problem(submit(stage, raw), status, code)
    problem(stage.post("/v1/jobs:batch", data=raw), status, code)


def test_given_json_just_32_deep_then_it_is_read(stage: Stage) -> None:
    deep: Any = 1
    for _ in range(28):  # below the body, `inputs`, the entry and `data`
        deep = [deep]
    body = {"kind": "picture", "inputs": [{"data": {"Age": 1, "visits": deep}}]}
    answer = submit(stage, body)
    assert pointers(problem(answer, 422, "invalid-inputs")) == ["#/inputs/0/data/visits/0"]
    body["inputs"] = [{"data": {"Age": 1, "visits": [deep]}}]
    problem(submit(stage, body), 400, "nesting-too-deep")


CONTROL = ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\ud800"]


@pytest.mark.parametrize("character", CONTROL, ids=ascii)
def test_given_a_control_character_anywhere_then_422_points_at_what_is_ours(stage: Stage, character: str) -> None:
    odd = f"a{character}b"
    for change, where in (
        ({"inputs": [{"data": {"Age": 1, "note": odd}}]}, "#/inputs/0/data"),
        ({"inputs": [{"data": {"Age": 1, "Jane": [{"Doe": odd}]}}]}, "#/inputs/0/data"),
        ({"inputs": [{"data": {odd: 1}}]}, "#/inputs/0/data"),
        ({"params": {"Jane": odd}}, "#/params"),
        ({"Jane": {"Doe": odd}}, "#"),
        ({"model": odd}, "#/model"),
    ):
        for ascii_only in (True, False) if character != "\ud800" else (True,):
            body = json.dumps({"kind": "picture", **change}, ensure_ascii=ascii_only)
            raw = body.encode()
            if not ascii_only and character < " ":
                continue  # such JSON is no JSON
            assert pointers(problem(submit(stage, raw), 422, "invalid-request")) == [where]


def test_given_tabs_and_line_ends_in_inline_data_then_they_are_text(stage: Stage) -> None:
    body = problem(
        submit(stage, {"kind": "picture", "inputs": [{"data": {"Age": "1\t2\r\n3"}}]}), 422, "invalid-inputs"
    )
    assert pointers(body) == ["#/inputs/0/data/Age"]


@pytest.mark.parametrize("small", [{"max_body_bytes": 1000}])
def test_given_a_body_above_the_limit_then_413_names_the_limit(stage: Stage) -> None:
    body = problem(submit(stage, b" " * 1001), 413, "body-too-large")
    assert "1000 bytes" in body["detail"]


@pytest.mark.parametrize("small", [{"max_queued": 2}])
def test_given_a_full_queue_then_429_with_retry_after(stage: Stage) -> None:
    stage.submit()
    stage.submit()
    answer = submit(stage, {"kind": "picture", "inputs": [DATA]})
    body = problem(answer, 429, "queue-full")
    assert int(answer.headers["Retry-After"]) > 0
    assert "2 jobs are waiting of the 2 that may" in body["detail"]
    problem(stage.post("/v1/jobs:batch", json={"jobs": [{"kind": "picture", "inputs": [DATA]}]}), 429, "queue-full")


def test_each_submit_is_one_audit_row(stage: Stage) -> None:
    job = stage.submit()
    [act] = audit.listing(stage.here.database, object=job["id"])
    assert (act.caller, act.action) == ("imaging-lab", "submit")


@pytest.mark.parametrize("small", [{"webhook_allow": "hooks.lan, 10.1.0.0/16"}])
@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://hooks.lan/x", 202),
        ("https://10.1.2.3/x", 202),
        ("https://10.2.0.1/x", 422),
        ("http://example.org/x", 422),
    ],
)
def test_given_an_allow_list_when_a_callback_is_private_then_the_list_decides(
    stage: Stage, url: str, status: int
) -> None:
    answer = submit(stage, {"kind": "picture", "inputs": [DATA], "callback_url": url})
    assert answer.status_code == status
