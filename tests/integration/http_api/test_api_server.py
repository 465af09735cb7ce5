"""What only a real server shows: streams, held requests, large bodies, broken HTTP, logs, start and stop."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis

from db import jobs
from db.records import Completion, StoredArtifact
from jobs.states import State
from tests.services.api_server import ROOT, ApiServer

LINE = {"kind": "toy-mean", "inputs": [{"data": {"values": [1, 2, 3]}}]}
NAME = "DOE^JANE"


def submit(running: Any) -> str:
    answer = running.http.post("/v1/jobs", json=LINE)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def finish(running: Any, job: str) -> None:
    """Play the worker: claim, report, succeed."""
    [claim] = jobs.claim(running.database, [job], "w1", 60, "inference")
    jobs.progress(running.database, job, claim.fence, fraction=0.5, stage="predict", message="1 of 2")
    result: dict[str, Any] = {"kind": "toy-mean", "items": [], "artifacts": [], "warnings": [], "provenance": {}}
    done = Completion(job, claim.fence, State.SUCCEEDED, result={**result, "model": None})
    assert jobs.complete(running.database, [done]) == {job}


def events(answer: httpx.Response) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line == "" and "data" in fields:
            yield fields
        if line == "":
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def later(seconds: float, act: Any, *arguments: Any) -> threading.Timer:
    timer = threading.Timer(seconds, act, arguments)
    timer.start()
    return timer


def test_given_a_wait_when_the_job_ends_then_the_answer_comes_at_once(running: Any) -> None:
    job = submit(running)
    timer = later(0.5, finish, running, job)
    began = time.monotonic()
    answer = running.http.get(f"/v1/jobs/{job}?wait=30")
    took = time.monotonic() - began
    timer.join()
    assert answer.json()["state"] == "succeeded"
    assert 0.4 < took < 3


def test_given_a_wait_when_the_time_passes_then_the_job_as_it_is(running: Any) -> None:
    job = submit(running)
    began = time.monotonic()
    answer = running.http.get(f"/v1/jobs/{job}?wait=0.5")
    assert answer.json()["state"] == "queued"
    assert 0.5 <= time.monotonic() - began < 3


def test_given_half_of_the_threads_held_then_a_further_wait_answers_at_once_and_a_stream_gets_503(running: Any) -> None:
    job = submit(running)
    held = [threading.Thread(target=running.http.get, args=(f"/v1/jobs/{job}?wait=20",)) for _ in range(4)]
    for thread in held:
        thread.start()
    deadline = time.monotonic() + 10
    while "medjobs_http_held_requests 4.0" not in running.http.get("/metrics").text:
        assert time.monotonic() < deadline
    began = time.monotonic()
    answer = running.http.get(f"/v1/jobs/{job}?wait=20")
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")
    assert "Retry-After" in answer.headers
    stream = running.http.get(f"/v1/jobs/{job}/events")
    assert (stream.status_code, stream.json()["code"]) == (503, "too-many-streams")
    assert "Retry-After" in stream.headers
    assert submit(running)
    assert time.monotonic() - began < 5
    finish(running, job)
    for thread in held:
        thread.join(10)
    deadline = time.monotonic() + 10
    while "medjobs_http_held_requests 0.0" not in running.http.get("/metrics").text:
        assert time.monotonic() < deadline


def test_given_a_stream_then_events_come_live_and_it_closes_with_the_job(running: Any) -> None:
    job = submit(running)
    timer = later(0.5, finish, running, job)
    with running.http.stream("GET", f"/v1/jobs/{job}/events") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        found = list(events(answer))
    timer.join()
    assert [(one["event"], json.loads(one["data"]).get("state")) for one in found] == [
        ("state", "queued"),
        ("state", "running"),
        ("progress", None),
        ("state", "succeeded"),
    ]
    numbers = [int(one["id"]) for one in found]
    assert numbers == sorted(set(numbers))
    assert json.loads(found[2]["data"])["fraction"] == 0.5


def test_given_an_ended_job_then_a_stream_replays_resumes_and_at_the_end_says_204(running: Any) -> None:
    job = submit(running)
    finish(running, job)
    with running.http.stream("GET", f"/v1/jobs/{job}/events") as answer:
        whole = list(events(answer))
    assert len(whole) == 4
    with running.http.stream("GET", f"/v1/jobs/{job}/events", headers={"Last-Event-ID": whole[1]["id"]}) as answer:
        assert list(events(answer)) == whole[2:]
    last = running.http.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": whole[3]["id"]})
    assert last.status_code == 204
    bad = running.http.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": "x"})
    assert bad.json()["errors"][0]["pointer"] == "#/headers/Last-Event-ID"


def test_given_a_stream_resumed_in_the_middle_of_a_job_then_nothing_is_missed_or_repeated(running: Any) -> None:
    job = submit(running)
    with running.http.stream("GET", f"/v1/jobs/{job}/events") as answer:
        first = next(events(answer))
    finish(running, job)
    with running.http.stream("GET", f"/v1/jobs/{job}/events", headers={"Last-Event-ID": first["id"]}) as answer:
        rest = list(events(answer))
    assert [one["event"] for one in [first, *rest]] == ["state", "state", "progress", "state"]


def test_given_a_client_that_leaves_its_stream_then_its_place_is_free_again(running: Any) -> None:
    job = submit(running)
    for _ in range(6):  # more than there are places
        with running.http.stream("GET", f"/v1/jobs/{job}/events") as answer:
            assert answer.status_code in (200, 503)
    finish(running, job)  # the next event finds the connections closed
    deadline = time.monotonic() + 20
    while "medjobs_http_held_requests 0.0" not in running.http.get("/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_given_a_submit_then_the_message_in_redis_is_the_id_and_the_row_is_marked(
    running: Any, redis_server: Any
) -> None:
    answer = running.http.post("/v1/jobs", json={**LINE, "labels": {"patient": NAME}})
    job = answer.json()["id"]
    client = redis.Redis.from_url(redis_server.url)
    deadline = time.monotonic() + 10
    while jobs.to_send(running.database):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    everything = b"".join(
        b"".join(client.lrange(key, 0, -1)) for key in client.keys("*") if client.type(key) == b"list"
    )
    client.close()
    assert job.encode() in everything
    assert b"DOE" not in everything


def test_given_redis_that_is_down_then_202_quickly_and_the_row_waits_for_the_keeper(
    running: Any, redis_server: Any
) -> None:
    redis_server.stop()
    began = time.monotonic()
    job = submit(running)
    assert time.monotonic() - began < 1
    assert [message.id for message in jobs.to_send(running.database)] == [job]
    assert running.http.get("/readyz").json()["status"] == "degraded"


def chunked(size: int) -> Iterator[bytes]:
    block = os.urandom(1 << 20)
    for _ in range(size >> 20):
        yield block


@pytest.mark.parametrize("as_form", [False, True])
def test_given_64_mb_then_they_stream_to_the_storage_in_bounded_memory(
    running: Any, tmp_path: Path, as_form: bool
) -> None:
    submit(running)
    before = running.server.memory()
    big = tmp_path / "big.dcm"
    with big.open("wb") as file:
        for block in chunked(64 << 20):
            file.write(block)
    digest = hashlib.sha256(big.read_bytes()).hexdigest()
    most = [before]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            most.append(running.server.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with big.open("rb") as file:
        if as_form:
            answer = running.http.post("/v1/jobs", data={"kind": "toy-mean"}, files={"file": (f"{NAME}.dcm", file)})
            assert answer.status_code == 202, answer.text
        else:
            answer = running.http.post("/v1/files", content=iter(lambda: file.read(1 << 20), b""))  # chunked transfer
            assert answer.status_code == 201, answer.text
            assert answer.json()["size"] == 64 << 20
    stop.set()
    watcher.join()
    assert running.storage.intact(f"sha256:{digest}")
    assert max(most) - before < 24 << 20


def test_given_a_chunked_body_above_the_limit_then_413(tmp_path: Path, running: Any) -> None:
    before = stored(tmp_path)
    running.server.stop()
    server = ApiServer(tmp_path, max_upload_bytes="1000000", redis_url="redis://127.0.0.1:1/0")
    try:
        with server.client(running.token) as http:
            answer = http.post("/v1/files", content=iter([b"x" * 600_000] * 2))
            assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    finally:
        server.stop()
    assert stored(tmp_path) == before


def stored(home: Path) -> list[Path]:
    """The files in the storage of a home: those of the shipped models lie there from the start."""
    return sorted(path for path in (home / "files").rglob("*") if path.is_file())


def raw(running: Any, request: bytes, half_close: bool = True) -> bytes:
    """What the server answers to these bytes."""
    port = int(running.server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (f"GET /{NAME} {NAME} HTTP/1.1\r\n\r\n".encode(), b"400"),
        (f"{NAME}\r\n\r\n".encode(), b"400"),
        (f"GET / HTTP/1.1\r\n{NAME} : x\r\n\r\n".encode(), b"400"),
        (f"GET /?{NAME}{'x' * 9000} HTTP/1.1\r\n\r\n".encode(), b"431"),
        (f"GET / HTTP/1.1\r\nX: {NAME}{'x' * 70000}\r\n\r\n".encode(), b"431"),
        (f"POST /v1/jobs HTTP/1.1\r\nContent-Length: {NAME}\r\n\r\n".encode(), b"400"),
    ],
    ids=["line", "word", "header", "url", "long-header", "length"],
)
def test_given_broken_http_then_a_problem_that_quotes_nothing(running: Any, request_: bytes, status: bytes) -> None:
    answer = raw(running, request_)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == int(status)
    assert b"DOE" not in answer
    running.http.get(f"/v1/jobs?label.patient={NAME}")
    running.server.stop()
    assert "DOE" not in running.server.log.read_text() + running.server.access_log.read_text()
    assert "GET /v1/jobs 200" in running.server.access_log.read_text()


def test_given_a_body_that_breaks_off_then_nothing_is_kept_and_the_server_goes_on(running: Any) -> None:
    before = stored(running.server.home)
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.token}\r\n"
    for body in ("Content-Length: 1000\r\n\r\nshort", "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nFF\r\nx"):
        answer = raw(running, (head + body).encode())
        assert answer == b"" or b"body-cut-short" in answer
    assert stored(running.server.home) == before
    assert submit(running)


def test_given_sigterm_while_requests_are_held_then_they_are_answered_and_all_ends_soon(running: Any) -> None:
    job = submit(running)
    answers: list[int] = []

    def hold() -> None:
        with running.server.client(running.token) as http:
            answers.append(http.get(f"/v1/jobs/{job}?wait=30").status_code)

    thread = threading.Thread(target=hold)
    thread.start()
    while "medjobs_http_held_requests 1.0" not in running.http.get("/metrics").text:
        time.sleep(0.02)
    assert running.server.stop() < 12
    thread.join()
    assert answers == [200]
    assert running.server.process.returncode == 0


def test_given_a_taken_port_then_it_is_named_with_its_remedy(running: Any) -> None:
    port = running.server.url.rpartition(":")[2]
    command = [sys.executable, "-P", "-m", "api", "--bind", f"127.0.0.1:{port}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MEDJOBS_HOME": str(running.server.home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr
    assert "choose another port" in done.stderr
    assert "Traceback" not in done.stderr


def test_given_a_folder_with_hostile_packages_then_ours_are_used(tmp_path: Path) -> None:
    home, hostile = tmp_path / "home", tmp_path / "hostile"
    home.mkdir()
    for name in ("api", "db", "models", "jobs", "storage", "broker", "flask"):
        (hostile / name).mkdir(parents=True)
        (hostile / name / "__init__.py").write_text("raise SystemExit('the hostile package was imported')")
    server = ApiServer(home, cwd=hostile)
    try:
        assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    finally:
        server.stop()
    assert "hostile" not in server.log.read_text()


def test_the_readme_line_works_with_curl(running: Any, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl on this machine")
    picture = tmp_path / f"{NAME}.dcm"
    picture.write_bytes(b"pixels")
    done = subprocess.run(
        [curl, "-sS", "-F", "kind=toy-mean", "-F", f"file=@{picture}", "-H", f"Authorization: Bearer {running.token}",
         f"{running.server.url}/v1/jobs"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["state"] == "queued"
    assert "DOE" not in done.stdout


def test_given_a_token_that_is_revoked_then_it_works_no_longer_than_the_cache(running: Any) -> None:
    from api.auth import CACHE_S
    from db.callers import list_tokens, revoke

    assert running.http.get("/v1/jobs").status_code == 200
    [token] = list_tokens(running.database)
    assert revoke(running.database, token.id)
    time.sleep(CACHE_S + 0.2)
    assert running.http.get("/v1/jobs").status_code == 401


def test_given_postgresql_then_the_same_calls_work(tmp_path: Path, redis_server: Any, postgres_url: str) -> None:
    from db.callers import create_token
    from db.engine import Database

    database = Database(postgres_url)
    token = create_token(database, "lab", ["admin"])
    server = ApiServer(tmp_path, redis_url=redis_server.url, database_url=postgres_url)
    try:
        with server.client(token, {"Idempotency-Key": "k"}) as http:
            first = http.post("/v1/jobs", data={"kind": "toy-mean"}, files={"file": io.BytesIO(b"abc")})
            assert first.status_code == 202, first.text
            again = http.post("/v1/jobs", data={"kind": "toy-mean"}, files={"file": io.BytesIO(b"abc")})
            assert again.json() == first.json()
            batch = {"jobs": [{**LINE, "labels": {"n": str(n)}} for n in range(5)]}
            assert http.post("/v1/jobs:batch", json=batch, headers={"Idempotency-Key": "b"}).status_code == 202
            assert len(http.get("/v1/jobs?label.n=3").json()["jobs"]) == 1
            page = http.get("/v1/jobs?limit=2").json()
            assert len(http.get(f"/v1/jobs?limit=9&cursor={page['next']}").json()["jobs"]) == 4
            job = first.json()["id"]
            assert http.post(f"/v1/jobs/{job}:cancel").json()["state"] == "cancelled"
            assert http.get(f"/v1/jobs/{job}?wait=5").json()["state"] == "cancelled"
            assert http.get("/readyz").json()["status"] == "ready"
            assert 'medjobs_jobs_queued{kind="toy-mean",priority="5"} 5.0' in http.get("/metrics").text
    finally:
        server.stop()
        database.close()


def test_given_a_large_artifact_when_it_is_read_then_it_comes_in_pieces(running: Any, tmp_path: Path) -> None:
    """Given a table of 96 MiB of which a caller has read the beginning, then the server does not hold the rest."""
    path, size = tmp_path / "table.csv", 96 << 20
    with path.open("wb") as file:
        file.truncate(size)
    job = submit(running)
    [claim] = jobs.claim(running.database, [job], "w1", 60, "inference")
    running.storage.put_artifact(job, claim.fence, "table.csv", path)
    files = [StoredArtifact("table.csv", "text/csv", size)]
    result: dict[str, Any] = {"kind": "toy-mean", "items": [], "artifacts": [], "warnings": [], "provenance": {}}
    done = Completion(job, claim.fence, State.SUCCEEDED, {**result, "model": None}, files)
    assert jobs.complete(running.database, [done]) == {job}

    def held() -> int:
        server = psutil.Process(running.server.process.pid)
        return sum(one.memory_info().rss for one in (server, *server.children(recursive=True)))

    running.http.get(f"/v1/jobs/{job}/result")
    before = held()
    with running.http.stream("GET", f"/v1/jobs/{job}/artifacts/table.csv") as answer:
        assert int(answer.headers["Content-Length"]) == size
        pieces = answer.iter_bytes()
        received = len(next(pieces))
        assert held() - before < 32 << 20
        received += sum(map(len, pieces))
    assert received == size
    answer = running.http.head(f"/v1/jobs/{job}/artifacts/table.csv")
    assert (answer.status_code, int(answer.headers["Content-Length"])) == (200, size)
