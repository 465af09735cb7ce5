"""The keeper's sweeps against both databases, and webhooks to a server that listens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import text

from broker.dispatch import Dispatcher
from broker.queues import redis_list, redis_lists
from broker.wire import job_id
from db import callers, jobs, retention, workers
from db.records import Completion
from jobs.settings import Settings
from jobs.states import State
from tests.services.redis import RedisServer
from tests.services.workers import Stack
from workers.sweeps import FRESH_S, Sweeps


@pytest.fixture
def stack(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    made = Stack(tmp_path, database_url, redis_server.url, resend_s=0.5, webhook_allow="127.0.0.0/8")
    yield made
    made.stop()


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as opened:
        yield opened


def sweeps(stack: Stack, **changes: Any) -> Sweeps:
    settings = Settings.model_validate({**stack.settings.model_dump(), **changes})
    return Sweeps(stack.db, stack.storage, Dispatcher(settings), settings)


def waiting(client: redis.Redis) -> list[str]:
    """Ids in Redis, as they would be served."""
    return [i for key in redis_lists("inference") for i in map(job_id, reversed(client.lrange(key, 0, -1)))]


def data(stack: Stack, **more: Any) -> Any:
    return stack.new([{"data": {"values": [1]}}], **more)


def test_unsent_jobs_are_sent_once_the_most_urgent_first(stack: Stack, client: redis.Redis) -> None:
    ids = stack.submit(*(data(stack, priority=p) for p in (1, 9, 5)), send=False)
    sweeps(stack).send_unsent()
    assert waiting(client) == []  # a new job is the API's to send at first
    time.sleep(FRESH_S + 0.1)
    sweeps(stack).send_unsent()
    sweeps(stack).send_unsent()
    assert waiting(client) == [ids[1], ids[2], ids[0]]


def test_jobs_wait_for_their_time(stack: Stack, client: redis.Redis) -> None:
    stack.submit(data(stack, run_at=time.time() + 60), send=False)
    (due,) = stack.submit(data(stack, run_at=time.time() + 0.2), send=False)
    sweeps(stack).send_unsent()
    assert waiting(client) == []
    time.sleep(0.3)
    sweeps(stack).send_unsent()
    assert waiting(client) == [due]


def test_a_flushed_queue_is_sent_again_and_a_waiting_one_is_not(stack: Stack, client: redis.Redis) -> None:
    ids = stack.submit(*(data(stack) for _ in range(50)))
    time.sleep(0.7)
    sweeps(stack).send_lost()
    assert len(waiting(client)) == 50  # they only wait: nothing is sent twice
    client.flushall()
    sweeps(stack).send_lost()
    assert sorted(waiting(client)) == sorted(ids)
    sweeps(stack).send_lost()
    assert len(waiting(client)) == 50


@pytest.mark.parametrize("wrong_s", [3600, -3600])
def test_a_sender_whose_clock_is_wrong_costs_no_message_and_hides_no_loss(
    stack: Stack, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, wrong_s: float
) -> None:
    """Given messages stamped an hour off, then those that wait are not sent again, and one that is gone is."""
    true = time.time
    monkeypatch.setattr("broker.dispatch.time.time", lambda: true() + wrong_s)
    (gone,) = stack.submit(data(stack))
    client.flushall()
    time.sleep(0.6)
    ids = stack.submit(data(stack), data(stack))
    sweeps(stack).send_lost()
    assert waiting(client) == [*ids, gone]
    time.sleep(0.6)
    sweeps(stack).send_lost()
    assert len(waiting(client)) == 3


def test_each_list_is_judged_by_its_own_head(stack: Stack, client: redis.Redis) -> None:
    """Given a low-priority message that waits for long, then a lost urgent one is still found."""
    stack.submit(data(stack, priority=0))
    (lost,) = stack.submit(data(stack, priority=9))
    client.delete(redis_list("inference", 0))
    time.sleep(0.7)
    sweeps(stack).send_lost()
    assert waiting(client)[0] == lost
    assert len(waiting(client)) == 2


def test_each_queue_is_judged_by_its_own_head(stack: Stack, client: redis.Redis) -> None:
    """Given a message that waits in one queue for long, then one that was lost from another is sent to that again."""
    (waits,) = stack.submit(data(stack))
    (lost,) = stack.submit(data(stack, queue="gpu-16"))
    key = redis_list("inference", 9 - 5, "gpu-16")
    assert client.delete(key) == 1
    time.sleep(0.7)
    sweeps(stack).send_lost()
    assert [job_id(one) for one in client.lrange(key, 0, -1)] == [lost]
    assert waiting(client) == [waits]


def test_what_waits_long_rises_into_the_next_list(stack: Stack, client: redis.Redis) -> None:
    (old,) = stack.submit(data(stack, priority=3))
    time.sleep(0.1)  # ten times the age at which it rises
    sweeps(stack, age_boost_s=0.01).boost()
    assert [job_id(one) for one in client.lrange(redis_list("inference", 9 - 4), 0, -1)] == [old]


def test_files_of_attempts_that_did_not_count_are_deleted(stack: Stack) -> None:
    (job_id,) = stack.submit(data(stack))
    (claim,) = jobs.claim(stack.db, [job_id], "w", 30, "inference")
    for fence in (claim.fence, claim.fence + 5):
        stack.storage.put_artifact(job_id, fence, "a.txt", b"a")
    stack.storage.put_artifact("0198f3a0-0000-7000-8000-000000000000", 1, "a.txt", b"orphan")
    sweeps(stack).sweep_folders()
    assert stack.storage.fences(job_id) == [claim.fence, claim.fence + 5]  # it runs: nothing is touched
    result = {"kind": "toy-mean", "items": []}
    jobs.complete(stack.db, [Completion(job_id, claim.fence, State.SUCCEEDED, result)])
    sweeps(stack).sweep_folders()
    assert stack.storage.fences(job_id) == [claim.fence]
    assert stack.storage.folders_of_jobs() == [job_id]


def test_inputs_records_and_bytes_go_when_they_are_due(stack: Stack) -> None:
    digest = stack.put(b"patient")
    (job_id,) = stack.submit(stack.new([digest]))
    (claim,) = jobs.claim(stack.db, [job_id], "w", 30, "inference")
    jobs.complete(stack.db, [Completion(job_id, claim.fence, State.SUCCEEDED, {"items": []})])
    keep = sweeps(stack)
    keep.forget_inputs()
    keep.sweep_blobs()
    assert stack.storage.exists(digest)
    time.sleep(0.05)
    due = sweeps(stack, keep_inputs_days=0.0, blob_grace_s=0.0)
    due.forget_inputs()
    time.sleep(0.05)
    due.sweep_blobs()
    assert not stack.storage.exists(digest)
    sweeps(stack, retention_days=0.0).purge_records()
    assert retention.unknown_jobs(stack.db, [job_id]) == {job_id}


class Listener:
    """An HTTP server that keeps what it was sent."""

    def __init__(self, statuses: list[int]) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                outer.calls.append(({name.lower(): value for name, value in self.headers.items()}, content))
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_a_webhook_is_signed_and_tried_again_until_it_is_taken(stack: Stack) -> None:
    listener = Listener([500, 302, 204])
    try:
        stack.worker()
        (job_id,) = stack.submit(data(stack, callback_url=listener.url))
        stack.wait([job_id])
        stack.keeper()

        def delivered() -> bool:
            with stack.db.write() as connection:  # spare the test the minutes between tries
                connection.execute(
                    text("UPDATE outbox SET next_at = 0 WHERE next_at IS NOT NULL AND error IS NOT NULL")
                )
                return connection.execute(text("SELECT delivered_at FROM outbox")).scalar() is not None

        stack.until(delivered)
    finally:
        listener.stop()
    assert len(listener.calls) >= 3
    first, content = listener.calls[0]
    assert json.loads(content)["data"] == {"id": job_id, "kind": "toy-mean", "state": "succeeded"}
    assert {call[0]["webhook-id"] for call in listener.calls} == {first["webhook-id"]}
    secret = callers.webhook_secret(stack.db, stack.caller_id)
    assert secret is not None
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{first['webhook-id']}.{first['webhook-timestamp']}.".encode() + content
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert first["webhook-signature"] == f"v1,{expected}"


def test_a_private_target_is_not_called(tmp_path: Path, sqlite_url: str, redis_server: RedisServer) -> None:
    listener = Listener([204])
    strict = Stack(tmp_path, sqlite_url, redis_server.url)
    try:
        strict.worker()
        (job_id,) = strict.submit(data(strict, callback_url=listener.url))
        strict.wait([job_id])
        strict.keeper()

        def refused() -> str | None:
            with strict.db.read() as connection:
                found: str | None = connection.execute(text("SELECT error FROM outbox")).scalar()
                return found

        strict.until(lambda: refused() is not None)
        assert "no public address" in str(refused())
        assert listener.calls == []
    finally:
        strict.stop()
        listener.stop()


def test_the_keeper_outlives_redis_and_comes_back(stack: Stack, redis_server: RedisServer) -> None:
    keeper = stack.keeper()
    stack.worker()
    redis_server.kill()
    ids = stack.submit(data(stack), data(stack))
    time.sleep(1.5)
    redis_server.start()
    assert {view.state for view in stack.wait(ids, 40)} == {"succeeded"}
    assert keeper.alive()
    assert keeper.terminate() == 0


def test_jobs_of_a_model_whose_own_workers_are_gone_wait_for_all_workers(
    stack: Stack, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a job in a model's own queue, then it stays while a worker is set apart for it, and a while after that; so
    does one that was handed on to a larger device, while such a worker lives."""
    own = workers.Worker("own", "h", 1, "inference", "cpu", {"queues": ["model-toy-scale", "gpu-24"]})
    workers.register(stack.db, own)
    version = {"model_name": "toy-scale", "model_version": 1, "queue": "model-toy-scale"}
    (job,) = stack.submit(data(stack, kind="diagnosis", **version))
    (unknown,) = stack.submit(data(stack, kind="of-a-later-release", **version))
    (handed,) = stack.submit(data(stack, kind="diagnosis", queue="gpu-24"))
    keeper = sweeps(stack)
    monkeypatch.setattr("workers.sweeps.ABSENT_S", 0.0)
    monkeypatch.setattr("workers.sweeps.FRESH_S", 0.0)
    keeper.leave_absent()
    assert (stack.view(job).queue, stack.view(handed).queue) == ("model-toy-scale", "gpu-24")
    workers.gone(stack.db, "own")
    monkeypatch.setattr("workers.sweeps.ABSENT_S", 60.0)
    keeper.leave_absent()
    assert stack.view(job).queue == "model-toy-scale"
    monkeypatch.setattr("workers.sweeps.ABSENT_S", 0.0)
    keeper.leave_absent()
    assert (stack.view(job).queue, stack.view(unknown).queue) == ("any", "model-toy-scale")
    assert stack.view(handed).queue == "any"
    keeper.send_unsent()
    assert job in waiting(client)
