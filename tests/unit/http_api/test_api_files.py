"""Uploads: streamed, counted, checked; downloads: ranged; and forms."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any

import pytest

from db import audit
from tests.services.stage import Stage, pointers, problem

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT)


def form(content: bytes = CONTENT, **fields: Any) -> dict[str, Any]:
    return {"file": (io.BytesIO(content), "DOE^JANE.dcm"), **fields}


def leftovers(stage: Stage) -> list[Path]:
    """Whatever lies in the storage."""
    return sorted(stage.stored() - stage.shipped)


def test_given_bytes_then_201_with_their_hash_and_the_same_bytes_have_the_same_id(stage: Stage) -> None:
    answer = stage.post("/v1/files", data=CONTENT)
    assert answer.status_code == 201
    assert answer.json == {
        "id": f"sha256:{DIGEST.hexdigest()}", "size": len(CONTENT), "media_type": "application/octet-stream",
    }  # fmt: skip
    assert answer.headers["Location"] == f"/v1/files/sha256:{DIGEST.hexdigest()}"
    assert stage.post("/v1/files", data=form()).json == answer.json
    assert stage.upload(CONTENT, who="rival") == answer.json["id"]  # type: ignore[index]


def test_given_bytes_that_are_gone_when_they_are_recorded_then_503_asks_for_them_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as swept:
        swept.setattr(type(stage.here.storage), "exists", lambda *_: False)
        for answer in (stage.post("/v1/files", data=CONTENT), stage.post("/v1/jobs", data=form(kind="picture"))):
            assert "send them again" in problem(answer, 503, "dependency-unavailable")["detail"]
            assert answer.headers["Retry-After"]
    stage.upload(CONTENT)


@pytest.mark.parametrize(
    ("head", "media"),
    [
        (b"\0" * 128 + b"DICM" + b"x", "application/dicom"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"PK\x03\x04", "application/zip"),
        (b"<html>", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_the_media_type_is_read_off_the_bytes_and_not_believed(stage: Stage, head: bytes, media: str) -> None:
    answer = stage.post("/v1/files", data=head, headers={"Content-Type": "text/html"})
    assert answer.json["media_type"] == media  # type: ignore[index]


def sha(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Content-SHA256": DIGEST.hexdigest()},
        {"X-Content-SHA256": DIGEST.hexdigest().upper()},
        {"Content-Digest": f"sha-256=:{sha(CONTENT)}:"},
        {"Content-Digest": f"sha-512=:AAAA:, sha-256=:{sha(CONTENT)}:"},
        {"Content-Digest": f"sha-256=:{sha(CONTENT)}:", "X-Content-SHA256": DIGEST.hexdigest()},
    ],
)
def test_given_the_right_digest_then_the_file_is_kept(stage: Stage, headers: dict[str, str]) -> None:
    assert stage.post("/v1/files", data=CONTENT, headers=headers).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Content-SHA256": "0" * 64},
        {"Content-Digest": f"sha-256=:{sha(b'other')}:"},
        {"X-Content-SHA256": DIGEST.hexdigest(), "Content-Digest": f"sha-256=:{sha(b'other')}:"},
    ],
)
def test_given_a_wrong_digest_then_422_and_nothing_is_kept(stage: Stage, headers: dict[str, str]) -> None:
    problem(stage.post("/v1/files", data=CONTENT, headers=headers), 422, "digest-mismatch")
    assert leftovers(stage) == []
    problem(stage.get(f"/v1/files/sha256:{DIGEST.hexdigest()}"), 404, "not-found")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Content-SHA256", "abc"),
        ("X-Content-SHA256", "z" * 64),
        ("Content-Digest", "md5=:AAAA:"),
        ("Content-Digest", "sha-256=:AAAA:"),
        ("Content-Digest", "nonsense"),
    ],
)
def test_given_a_digest_that_cannot_be_checked_then_422_points_at_the_header(
    stage: Stage, name: str, value: str
) -> None:
    body = problem(stage.post("/v1/files", data=CONTENT, headers={name: value}), 422, "invalid-request")
    assert pointers(body) == [f"#/headers/{name}"]


def test_given_a_form_then_its_file_is_held_against_the_digest_too(stage: Stage) -> None:
    good = {"X-Content-SHA256": DIGEST.hexdigest()}
    assert stage.post("/v1/files", data=form(), headers=good).status_code == 201
    problem(stage.post("/v1/files", data=form(b"other"), headers=good), 422, "digest-mismatch")
    whole = {"Content-Digest": f"sha-256=:{sha(b'the body is not this')}:"}
    problem(stage.post("/v1/files", data=form(), headers=whole), 422, "digest-mismatch")


@pytest.mark.parametrize("small", [{"max_upload_bytes": 10_000}])
def test_given_too_many_bytes_then_413_names_the_limit_and_nothing_is_kept(stage: Stage) -> None:
    assert stage.post("/v1/files", data=b"x" * 10_000).status_code == 201
    kept = leftovers(stage)
    for data in (b"x" * 10_001, form(b"x" * 10_001)):
        body = problem(stage.post("/v1/files", data=data), 413, "body-too-large")
        assert "10000 bytes" in body["detail"]
    problem(stage.post("/v1/jobs", data=form(b"x" * 10_001, kind="picture")), 413, "body-too-large")
    assert leftovers(stage) == kept


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        (None, 200, CONTENT),
        ("bytes=0-9", 206, CONTENT[:10]),
        ("bytes=100-", 206, CONTENT[100:]),
        ("bytes=-5", 206, CONTENT[-5:]),
    ],
)
def test_given_a_file_then_its_bytes_and_ranges_of_them_come_back(
    stage: Stage, asked: str | None, status: int, content: bytes
) -> None:
    file = stage.upload(CONTENT)
    answer = stage.get(f"/v1/files/{file}", headers={} if asked is None else {"Range": asked})
    assert (answer.status_code, answer.data) == (status, content)
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_given_a_range_beyond_the_end_then_416(stage: Stage) -> None:
    problem(
        stage.get(f"/v1/files/{stage.upload(b'abc')}", headers={"Range": "bytes=10-20"}), 416, "range-not-satisfiable"
    )


def test_given_anothers_file_then_it_is_not_found_and_cannot_be_deleted(stage: Stage) -> None:
    file = stage.upload(CONTENT)
    problem(stage.get(f"/v1/files/{file}", who="rival"), 404, "not-found")
    problem(stage.call("DELETE", f"/v1/files/{file}", who="rival"), 404, "not-found")
    assert stage.get(f"/v1/files/{file}", who="admin").status_code == 200


def test_given_a_file_when_it_is_forgotten_then_204_once_and_audited(stage: Stage) -> None:
    file = stage.upload(CONTENT)
    assert stage.call("DELETE", f"/v1/files/{file}").status_code == 204
    problem(stage.get(f"/v1/files/{file}"), 404, "not-found")
    problem(stage.call("DELETE", f"/v1/files/{file}"), 404, "not-found")
    assert [act.action for act in audit.listing(stage.here.database, object=file)] == ["file.delete"]


def test_given_the_one_line_of_the_readme_then_the_form_makes_a_job(stage: Stage) -> None:
    answer = stage.post("/v1/jobs", data=form(
        kind="picture", params='{"level": 2}', labels='{"study": "A"}', priority="7", seed="3", timeout_s="1.5",
        inputs='[{"data": {"Age": 1}}]', model="pictures@2", run_after="2030-01-01T00:00:00Z",
    ))  # fmt: skip
    assert answer.status_code == 202
    job = answer.json
    assert job is not None
    assert (job["priority"], job["seed"], job["timeout_s"], job["labels"]) == (7, 3, 1.5, {"study": "A"})
    assert job["model"]["version"] == 2
    assert stage.get(f"/v1/files/sha256:{DIGEST.hexdigest()}").data == CONTENT


def test_given_a_form_with_many_files_then_they_are_inputs_in_order(stage: Stage) -> None:
    contents = [b"one", b"two", b"three"]
    data = {"kind": "picture", "file": [(io.BytesIO(content), "x.dcm") for content in contents]}
    job = stage.post("/v1/jobs", data=data).json
    assert job is not None
    from db import reading

    row = reading.get(stage.here.database, job["id"])
    assert row is not None
    assert row.inputs == [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents]


@pytest.mark.parametrize(
    ("fields", "status", "where"),
    [
        ({"kind": "picture", "params": "{"}, 400, ["#/params"]),
        ({"kind": "picture", "params": '{"level": NaN}'}, 400, ["#/params"]),
        ({"kind": "picture", "labels": '{"a": "\\u0000"}'}, 422, ["#"]),
        ({"kind": "picture", "priority": "high"}, 422, ["#/priority"]),
        ({"kind": "picture", "timeout_s": "nan"}, 422, ["#/timeout_s"]),
        ({"kind": "picture", "surprise": "1"}, 422, ["#"]),
        ({"kind": ["picture", "picture"]}, 422, ["#/kind"]),
        ({}, 422, ["#/kind"]),
        ({"kind": "no\x00pe"}, 422, ["#/kind"]),
        ({"kind": "picture", "inputs": '"x"'}, 422, ["#/inputs"]),
    ],
)
def test_given_a_bad_field_in_a_form_then_it_is_pointed_at(
    stage: Stage, fields: dict[str, Any], status: int, where: list[str]
) -> None:
    answer = stage.post("/v1/jobs", data=form(**fields))
    assert answer.status_code == status, answer.text
    assert pointers(problem(answer, status, answer.json["code"])) == where  # type: ignore[index]


def raw_form(body: bytes, boundary: str | None = "B") -> dict[str, Any]:
    suffix = "" if boundary is None else f"; boundary={boundary}"
    return {"data": body, "headers": {"Content-Type": f"multipart/form-data{suffix}"}}


@pytest.mark.parametrize(
    "request_",
    [
        raw_form(b""),
        raw_form(b"--B\r\n"),
        raw_form(b"no boundary here"),
        raw_form(b"--B--", None),
        raw_form(b"x", "B" * 300),
        raw_form(b"--B\r\nContent-Disposition: form-data; name=file\r\n\r\ncut short"),
        raw_form(b"--B\r\nX: 1\r\n\r\nno disposition\r\n--B--\r\n"),
        raw_form(b"--B\r\nContent-Disposition: form-data\r\n\r\nno name\r\n--B--\r\n"),
        raw_form(b"--B\r\n\xff\xfe: 1\r\n\r\nx\r\n--B--\r\n"),
        raw_form(b'--B\r\nContent-Disposition: form-data; name="kind"\r\n\r\n\xff\xff\r\n--B--\r\n'),
    ],
)
@pytest.mark.parametrize("path", ["/v1/files", "/v1/jobs"])
def test_given_a_broken_form_then_400_or_422_and_never_500(stage: Stage, path: str, request_: dict[str, Any]) -> None:
    answer = stage.post(path, **request_)
    assert answer.status_code in (400, 422), answer.text
    problem(answer, answer.status_code, answer.json["code"])  # type: ignore[index]
    assert leftovers(stage) == []


def test_given_part_headers_without_end_then_413_before_memory_is_full(stage: Stage) -> None:
    answer = stage.post("/v1/files", **raw_form(b"--B\r\nX-Long: " + b"x" * (2 << 20)))
    problem(answer, 413, "body-too-large")


def test_given_two_files_where_one_is_wanted_then_422(stage: Stage) -> None:
    data = {"file": [(io.BytesIO(b"a"), "a"), (io.BytesIO(b"b"), "b")]}
    problem(stage.post("/v1/files", data=data), 422, "invalid-request")
    problem(stage.post("/v1/files", data={"document": (io.BytesIO(b"a"), "a")}), 422, "invalid-request")
