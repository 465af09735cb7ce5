"""The real Flower, as medjobs starts it: what its buttons and its API may do, and what it remembers."""

from __future__ import annotations

import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from medjobs.stack import ports
from tests.services.redis import RedisServer
from tests.services.workers import Process, Stack

PASSWORD = ("ward", "open sesame")
WORKER = "celery@nobody"


class Flower:
    """The process `medjobs flower`, and a client with the password."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.stack.environment["FLOWER_BASIC_AUTH"] = ":".join(PASSWORD)
        self.web = httpx.Client()
        self._redis = redis.Redis.from_url(stack.settings.redis)
        self.start()

    def start(self) -> None:
        port = ports.free_port()
        self.process: Process = self.stack._start(["medjobs.stack.flower", "--bind", f"127.0.0.1:{port}"])
        self.web.close()
        self.web = httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=PASSWORD, timeout=20)
        self.stack.until(self._answers, 60)

    def _answers(self) -> bool:
        """It does, and listens: what happens before that it never hears of."""
        try:
            return self.web.get("/healthcheck").text == "OK" and self._redis.pubsub_numpat() > 0
        except httpx.TransportError:
            return False

    def state(self, job_id: str) -> str | None:
        """What Flower says of a job."""
        answer = self.web.get(f"/api/task/info/{job_id}")
        return str(answer.json()["state"]) if answer.status_code == 200 else None

    def workers(self) -> dict[str, Any]:
        return dict(self.web.get("/api/workers", params={"refresh": "1"}).json())


@pytest.fixture
def flower(stack: Stack) -> Iterator[Flower]:
    started = Flower(stack)
    yield started
    started.web.close()


@pytest.fixture
def stack(tmp_path: Path, sqlite_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    made = Stack(tmp_path, sqlite_url, redis_server.url)
    yield made
    made.stop()


def changing(worker: str, job_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Every URL of Flower's that changes something, with arguments that it would act on."""
    kind = "medjobs.toy-mean"
    return [
        (f"/api/worker/shutdown/{worker}", {}),
        (f"/api/worker/pool/restart/{worker}", {}),
        (f"/api/worker/pool/grow/{worker}", {"n": "1"}),
        (f"/api/worker/pool/shrink/{worker}", {"n": "1"}),
        (f"/api/worker/pool/autoscale/{worker}", {"min": "0", "max": "1"}),
        (f"/api/worker/queue/add-consumer/{worker}", {"queue": "another"}),
        (f"/api/worker/queue/cancel-consumer/{worker}", {"queue": "inference"}),
        (f"/api/task/apply/{kind}", {}),
        (f"/api/task/async-apply/{kind}", {}),
        (f"/api/task/send-task/{kind}", {}),
        (f"/api/task/abort/{job_id}", {}),
        (f"/api/task/timeout/{kind}", {"workername": worker, "hard": "1", "soft": "1"}),
        (f"/api/task/rate-limit/{kind}", {"workername": worker, "ratelimit": "1/h"}),
    ]


def test_given_the_password_when_every_changing_page_is_called_then_nothing_happens_to_worker_or_job(
    stack: Stack, flower: Flower
) -> None:
    worker = stack.worker()
    (running,) = stack.files([b"slow"], params={"sleep_s": 2})
    stack.until(lambda: bool(flower.workers()), 90)
    (name,) = flower.workers()
    for url, arguments in changing(name, running):
        answer = flower.web.post(url, params=arguments)
        assert (answer.status_code, "medjobs does not do this" in answer.text) == (403, True), url
        assert flower.web.post(url, params=arguments, auth=("ward", "wrong")).status_code == 401, url
    (job,) = stack.wait([running], 90)
    (after,) = stack.wait(stack.files([b"after"]), 90)
    assert (job.state, len(job.attempts), after.state, worker.alive()) == ("succeeded", 1, "succeeded", True)


def test_every_route_of_this_flower_that_takes_a_post_is_among_those_that_were_tried() -> None:
    """Given a newer Flower with one more such page, then it is in the list above before it is shipped."""
    from flower.urls import handlers
    from tornado.web import RequestHandler, URLSpec

    specs = [one if isinstance(one, URLSpec) else URLSpec(*one) for one in handlers]
    known = [url for url, _ in changing(WORKER, "x")] + ["/api/task/revoke/x", "/tasks/datatable"]
    for spec in specs:
        if any(
            getattr(spec.handler_class, v) is not getattr(RequestHandler, v) for v in ("post", "put", "delete", "patch")
        ):
            assert any(spec.regex.match(url) for url in known), spec.regex.pattern


def test_revoke_cancels_the_job_for_good_with_and_without_a_worker(stack: Stack, flower: Flower) -> None:
    (waiting,) = stack.files([b"waits"])
    answer = flower.web.post(f"/api/task/revoke/{waiting}", params={"terminate": "true"})
    assert answer.json()["message"].endswith("the job is cancelled")
    assert stack.view(waiting).state == "cancelled"
    stack.worker()
    (running,) = stack.files([b"slow"], params={"sleep_s": 30})
    stack.wait_running([running], 90)
    assert flower.web.post(f"/api/task/revoke/{running}", auth=None).status_code == 401
    assert flower.web.post(f"/api/task/revoke/{running}", headers={"Origin": "http://evil.example"}).status_code == 403
    assert stack.view(running).state == "running"
    assert flower.web.post(f"/api/task/revoke/{running}").status_code == 200
    (job,) = stack.wait([running], 90)
    assert job.state == "cancelled"
    stack.until(lambda: flower.state(running) == "REVOKED")
    for unknown in ("no-uuid", "0198c2a4-0000-7000-8000-000000000009"):
        assert flower.web.post(f"/api/task/revoke/{unknown}").status_code == 404
    page = flower.web.get(f"/task/{running}")
    assert page.status_code == 200


def test_without_the_password_nothing_is_told_but_that_it_runs(flower: Flower) -> None:
    pages = ["/", "/workers", "/tasks", "/broker", "/metrics", "/api/workers", "/api/tasks", "/api/task/types",
             "/api/queues/length", "/task/x", f"/worker/{WORKER}", "/api/task/info/x", "/api/task/result/x",
             "/tasks/datatable"]  # fmt: skip
    assert {page: flower.web.get(page, auth=None).status_code for page in pages} == dict.fromkeys(pages, 401)
    assert flower.web.get("/healthcheck", auth=None).text == "OK"
    assert "flower_" in flower.web.get("/metrics").text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_flower_saw_is_there_again_after_a_restart(stack: Stack, number: signal.Signals) -> None:
    """Given jobs that Flower saw, then it shows them after SIGTERM, and after kill -9 what it had saved by then."""
    if number == signal.SIGKILL:
        stack.environment["FLOWER_STATE_SAVE_INTERVAL"] = "1000"
    flower = Flower(stack)
    (job_id,) = stack.files([b"waits for a worker"])
    stack.until(lambda: flower.state(job_id) == "PENDING")
    if number == signal.SIGKILL:
        seen = time.time()
        stack.until(lambda: any(file.stat().st_mtime > seen for file in saved(stack)))
    flower.process.send(number)
    flower.process.wait()
    assert {stat.S_IMODE(file.stat().st_mode) for file in saved(stack)} == {0o600}
    flower.start()
    assert flower.state(job_id) == "PENDING"
    flower.web.close()


def saved(stack: Stack) -> list[Path]:
    """Where Flower keeps what it saw; Python's dbm adds a suffix of its own."""
    return [one for one in stack.settings.home.glob("flower.state*") if ".tmp" not in one.name]
