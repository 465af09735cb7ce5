"""What the process around the routes does: imports, tokens, held requests, sending, probes, metrics."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api import events, health, server
from api.auth import CACHE_S, Authenticator
from api.holds import Holds
from api.outgoing import Outgoing
from db import jobs, workers
from db.callers import Caller
from db.records import NewJob
from jobs.errors import DatabaseUnavailable
from jobs.ids import new_id
from jobs.messages import Message
from jobs.states import State
from tests.services.stage import Stage, problem

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "captum", "monai", "celery", "pydicom", "scipy")


def test_importing_the_api_imports_no_torch() -> None:
    script = (
        "import sys, api, api.server\n"
        "from models.registry import kinds\nfrom models.catalogue import catalogue\nkinds(); catalogue()\n"
        "import registry.shipped, models.comparing\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_drawing_every_kinds_report_imports_no_torch() -> None:
    script = (
        "import sys\nfrom models.registry import kinds\nfrom jobs.kinds import resolve\n"
        "[resolve(kind.report) for kind in kinds().values() if kind.report]\nimport models.plain_report\n"
        "print('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "False", done.stderr


def test_the_working_folder_leaves_the_path_and_the_rest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert server.without_working_folder(["", str(tmp_path), "/usr/lib/x"]) == ["/usr/lib/x"]
    monkeypatch.chdir(ROOT)  # a development checkout, where our packages lie in the folder we stand in
    assert server.without_working_folder([str(ROOT), "/usr/lib/x"]) == [str(ROOT), "/usr/lib/x"]


@pytest.mark.parametrize("bind", ["8000", "host:", "127.0.0.1:99999", ":80", "127.0.0.1:http"])
def test_a_bind_that_is_none_is_refused(bind: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        server.listen(bind)


@pytest.mark.parametrize(
    ("bind", "host"), [("0.0.0.0:0", "127.0.0.1"), ("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "[::1]")]
)
def test_the_address_is_one_that_a_client_of_this_host_can_use(bind: str, host: str) -> None:
    try:
        listener = server.listen(bind)
    except server.PortTaken:
        pytest.skip("no IPv6 on this machine")
    with listener:
        assert server.url_of(listener) == f"http://{host}:{listener.getsockname()[1]}"


def test_a_good_token_is_asked_for_once_in_a_while_and_a_bad_one_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    caller = Caller(1, "lab", frozenset({"read"}), 1)

    def look_up(token: str) -> Caller | None:
        asked.append(token)
        return caller if token == "good" and len(asked) < 4 else None

    clock = [100.0]
    monkeypatch.setattr("api.auth.time.monotonic", lambda: clock[0])
    authenticator = Authenticator(look_up)
    assert [authenticator.caller("good") for _ in range(3)] == [caller] * 3
    assert [authenticator.caller("bad") for _ in range(2)] == [None] * 2
    assert asked == ["good", "bad", "bad"]
    assert len(authenticator._known) == 1
    assert "good" not in repr(authenticator._known)
    clock[0] += CACHE_S + 0.1
    assert authenticator.caller("good") is None  # revoked meanwhile
    assert authenticator.caller("good") is None


def test_holds_are_given_to_as_many_as_there_are_places() -> None:
    holds = Holds(2)
    assert [holds.take() for _ in range(3)] == [True, True, False]
    holds.give_back()
    assert holds.take()


def row(stage: Stage) -> str:
    job = NewJob(id=new_id(), caller_id=1, kind="picture", pool="inference")
    jobs.insert(stage.here.database, [job], max_queued=100)
    return job.id


def test_a_poller_wakes_waits_at_the_end_and_streams_at_each_event(stage: Stage) -> None:
    job, other = row(stage), row(stage)
    poller = stage.here.poller
    end, late, stranger = poller.watch(job), poller.watch(job, 0), poller.watch(other)
    assert [event.data for event in late.wait(5)] == [{"state": "queued"}]
    stage.end(job)
    end.wait(5)
    seen = []
    deadline = time.monotonic() + 5
    while len(seen) < 2 and time.monotonic() < deadline:
        seen += [event.data["state"] for event in late.wait(1)]
    assert seen == ["running", "succeeded"]
    began = time.monotonic()
    assert stranger.wait(0.1) == []
    assert time.monotonic() - began >= 0.1
    for watch in (end, late, stranger):
        poller.forget(watch)


def test_a_poller_outlives_a_database_that_is_away(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    job = row(stage)
    away = [True]
    real = __import__("db.reading", fromlist=["ended"]).ended

    def ended(*arguments: Any) -> set[str]:
        if away[0]:
            raise DatabaseUnavailable
        return set(real(*arguments))

    monkeypatch.setattr("db.reading.ended", ended)
    monkeypatch.setattr("api.poller.OUTAGE_S", 0.01)
    watch = stage.here.poller.watch(job)
    time.sleep(0.1)
    stage.end(job)
    away[0] = False
    began = time.monotonic()
    watch.wait(5)
    assert time.monotonic() - began < 4
    stage.here.poller.forget(watch)


def test_a_poller_that_stops_lets_everybody_go(stage: Stage) -> None:
    watch = stage.here.poller.watch(row(stage))
    threading.Timer(0.1, stage.here.poller.stop).start()
    began = time.monotonic()
    watch.wait(10)
    assert time.monotonic() - began < 5


def test_a_silent_stream_sends_comments(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.05)
    job = stage.submit()["id"]
    answer = stage.get(f"/v1/jobs/{job}/events", buffered=False)
    chunks = answer.iter_encoded()
    assert next(chunks) == b"retry: 1000\n\n"
    assert b'"state":"queued"' in next(chunks)
    assert next(chunks) == b": still here\n\n"
    assert stage.here.holds.taken == 1
    answer.close()
    assert stage.here.holds.taken == 0


def test_a_stream_of_another_callers_job_is_404(stage: Stage) -> None:
    problem(stage.get(f"/v1/jobs/{stage.submit()['id']}/events", who="rival"), 404, "not-found")


class Wire:
    """A dispatcher that remembers what it was given, and takes what it is told to."""

    def __init__(self, takes: bool = True) -> None:
        self.takes, self.batches = takes, list[list[str]]()

    def send(self, messages: Any) -> set[str]:
        self.batches.append([message.id for message in messages])
        return {message.id for message in messages} if self.takes else set()


@pytest.mark.parametrize("takes", [True, False])
def test_what_was_sent_is_marked_and_what_was_not_is_left_to_the_keeper(stage: Stage, takes: bool) -> None:
    wire = Wire(takes)
    outgoing = Outgoing(wire, stage.here.database)  # type: ignore[arg-type]
    ids = [row(stage) for _ in range(30)]
    for job in ids:
        outgoing.send([Message(job, "picture", "inference", 5)])
    outgoing.close()
    assert [job for batch in wire.batches for job in batch] == ids
    # Jobs of one millisecond have no order among themselves, so the ids are compared as a set.
    assert {message.id for message in jobs.to_send(stage.here.database)} == (set() if takes else set(ids))


class BrokenWire(Wire):
    """A dispatcher that fails, in a way that nobody thought of, as often as it is told to."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def send(self, messages: Any) -> set[str]:
        self.failures -= 1
        if self.failures >= 0:
            raise RuntimeError("a row with the name of a patient")
        return super().send(messages)


def test_whatever_fails_while_a_job_is_sent_the_next_is_sent_all_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wire = BrokenWire(failures=1)
    outgoing = Outgoing(wire, stage.here.database)  # type: ignore[arg-type]
    unsent, unmarked, sent = row(stage), row(stage), row(stage)

    def send(job: str, until: Callable[[], object]) -> None:
        outgoing.send([Message(job, "picture", "inference", 5)])
        deadline = time.monotonic() + 10
        while not until():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    send(unsent, lambda: wire.failures == 0)
    with monkeypatch.context() as broken:
        tried: list[Any] = []

        def mark_sent(_: Any, ids: Any) -> None:
            tried.append(ids)
            raise ValueError("a row with the name of a patient")

        broken.setattr("api.outgoing.rows.mark_sent", mark_sent)
        send(unmarked, lambda: tried)
    send(sent, lambda: [sent] in wire.batches)
    outgoing.close()
    assert wire.batches == [[unmarked], [sent]]
    assert {message.id for message in jobs.to_send(stage.here.database)} == {unsent, unmarked}
    assert "RuntimeError while jobs were sent" in caplog.text
    assert "ValueError while jobs were sent" in caplog.text
    assert "patient" not in caplog.text


def test_a_job_for_later_is_not_sent_now(stage: Stage) -> None:
    wire = Wire()
    stage.here.outgoing._dispatcher = wire  # type: ignore[assignment]
    stage.submit(run_after="2031-01-01T00:00:00Z")
    now = stage.submit()["id"]
    stage.here.outgoing.close()
    assert wire.batches == [[now]]


def test_readiness_names_what_is_down(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "REMEMBERED_S", -1.0)
    answer = stage.get("/readyz", who=None)
    assert (answer.status_code, answer.json["status"]) == (200, "degraded")  # type: ignore[index]
    monkeypatch.setattr(health.broker, "ping", lambda _: "7.0")
    assert stage.get("/readyz", who=None).json["status"] == "ready"  # type: ignore[index]
    (stage.settings.home / "medjobs.db").rename(stage.settings.home / "away.db")

    def check() -> None:
        raise DatabaseUnavailable("secret text of a driver")

    monkeypatch.setattr(stage.here.database, "check", check)
    answer = stage.get("/readyz", who=None)
    assert (answer.status_code, answer.json["status"]) == (503, "unready")  # type: ignore[index]
    assert answer.json["dependencies"]["database"]["ok"] is False  # type: ignore[index]
    assert "medjobs doctor" in answer.json["dependencies"]["database"]["detail"]  # type: ignore[index]
    assert "secret" not in answer.text
    assert stage.get("/healthz", who=None).json == {"status": "ok"}


def test_metrics_count_what_the_database_says(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.metrics.REMEMBERED_S", -1.0)
    for priority in (5, 5, 9):
        stage.submit(priority=priority)
    stage.start(stage.submit(priority=1)["id"])
    stage.end(stage.submit(priority=1)["id"])
    stage.end(stage.submit(priority=1)["id"], State.FAILED)
    alive = workers.Worker("w1", "host", 1, "inference", "cuda:0")
    workers.register(stage.here.database, alive)
    workers.heartbeat(stage.here.database, "w1", ["a"], {"rss": 5, "device_used": 7, "cpu": 0.5}, "running")
    stage.get(f"/v1/jobs/{new_id()}")
    stage.call("BREW", "/v1/jobs")
    text = stage.get("/metrics", who=None).text
    for line in (
        'medjobs_jobs_queued{kind="picture",priority="5"} 2.0',
        'medjobs_jobs_queued{kind="picture",priority="9"} 1.0',
        'medjobs_jobs_running{kind="picture",priority="1"} 1.0',
        'medjobs_jobs_submitted_total{kind="picture"} 6.0',
        'medjobs_jobs_ended_total{code="",kind="picture",state="succeeded"} 1.0',
        'medjobs_jobs_ended_total{code="timeout",kind="picture",state="failed"} 1.0',
        'medjobs_attempts_ended_total{code="",kind="picture",outcome="succeeded"} 1.0',
        'medjobs_job_wait_seconds_count{kind="picture"} 3.0',
        'medjobs_job_wait_seconds_bucket{kind="picture",le="+Inf"} 3.0',
        'medjobs_attempt_run_seconds_bucket{kind="picture",le="60.0",outcome="failed"} 1.0',
        'medjobs_pool_queued{pool="inference"} 3.0',
        'medjobs_pool_queued{pool="long"} 0.0',
        'medjobs_pool_workers{pool="inference"} 1.0',
        'medjobs_pool_workers{pool="long"} 0.0',
        'medjobs_workers{device_kind="cuda",pool="inference",state="running"} 1.0',
        'medjobs_worker_memory_bytes{device="cuda:0",pool="inference",what="device_used",worker="w1"} 7.0',
        'medjobs_worker_busy_ratio{device="cuda:0",pool="inference",what="cpu",worker="w1"} 0.5',
        'medjobs_storage_bytes{what="free"} ',
        "medjobs_jobs_unsent 0.0",
        "medjobs_database_up 1.0",
        'medjobs_http_request_duration_seconds_count{method="GET",route="/v1/jobs/<uuid:job_id>",status="404"} 1.0',
        'medjobs_http_request_duration_seconds_count{method="POST",route="/v1/jobs",status="202"} 6.0',
        'medjobs_http_request_duration_seconds_count{method="other",route="-",status="405"} 1.0',
        'medjobs_queue_oldest_seconds{kind="picture",priority="9"} ',
    ):
        assert line in text
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    assert all(name.startswith("medjobs_") for name in names)


def test_metrics_of_a_database_that_is_away_say_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr("db.depths.queue_depths", away)
    answer = stage.get("/metrics", who=None)
    assert answer.status_code == 200
    assert "medjobs_database_up 0.0" in answer.text


def test_the_log_names_no_token(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stage.get("/v1/jobs")
    assert stage.tokens["lab"] not in caplog.text


def test_given_no_room_to_wait_when_asked_to_then_the_answer_comes_at_once_and_says_when_to_come_back(
    stage: Stage,
) -> None:
    job = stage.submit()
    while stage.here.holds.take():
        pass
    answer = stage.get(f"/v1/jobs/{job['id']}?wait=20")
    assert answer.status_code == 200
    assert answer.headers["Retry-After"] == "3"
