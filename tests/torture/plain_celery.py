"""The harness tried on plain_app.py, what most projects have: the same ledger, faults and judge find it out."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from celery import Celery

from tests.services.redis import RedisServer
from tests.torture.judge import Held, judge
from tests.torture.ledger import Ledger, Order
from tests.torture.runner import Verdict
from tests.torture.system import RESTART_S, ROOT, kill

JOBS, FLUSH_AT = 80, 30
SETTLE_S = 60.0


def run(folder: Path, seed: int, say: Callable[[str], None]) -> Verdict:
    """Some jobs are short and some longer than the visibility timeout; workers are killed and Redis is flushed."""
    folder.mkdir(parents=True, exist_ok=True)
    begun, rng = time.monotonic(), random.Random(seed)
    results = folder / "results.db"
    with sqlite3.connect(results) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE results (key TEXT, mean REAL, size INTEGER)")
    ledger, redis = Ledger(folder / "ledger.jsonl"), RedisServer()
    path = os.pathsep.join([str(ROOT)])
    environment = {**os.environ, "PLAIN_REDIS": redis.url, "PLAIN_RESULTS": str(results), "PYTHONPATH": path}
    over = threading.Event()
    hosts = [threading.Thread(target=_host, args=(environment, folder, over, rng.random(), ledger)) for _ in range(2)]
    for host in hosts:
        host.start()
    try:
        _wait_for_a_worker(redis, results)
        _submit(ledger, redis, rng)
        time.sleep(SETTLE_S)
    finally:
        over.set()
        for host in hosts:
            host.join()
        redis.stop()
    held = _held(ledger, results)
    found = judge(ledger, "plain", held, folder, folder / "commits")
    ledger.close()
    title = "plain Celery, acks_late: workers killed, one FLUSHALL, jobs beyond the visibility timeout"
    injected = len(ledger.injected("plain"))
    return Verdict("plain", title, "redis", injected, JOBS, found, (), 1.0, 1.0, time.monotonic() - begun)


def _wait_for_a_worker(redis: RedisServer, results: Path) -> None:
    """Until a first task has come through."""
    client, deadline = Celery("caller", broker=redis.url), time.monotonic() + 90
    client.send_task("plain.mean", ("first", [1], 0.0))
    client.close()
    while time.monotonic() < deadline:
        with sqlite3.connect(results) as connection:
            if connection.execute("SELECT count(*) FROM results").fetchone()[0]:
                return
        time.sleep(0.2)
    raise RuntimeError("plain Celery did not start")


def _submit(ledger: Ledger, redis: RedisServer, rng: random.Random) -> None:
    client = Celery("caller", broker=redis.url)
    for number in range(JOBS):
        values = [rng.randrange(1000) for _ in range(5)]
        seconds = 20.0 if number > FLUSH_AT and number % 8 == 0 else 0.5
        item = {"mean": sum(values) / len(values), "size": len(values)}
        entry = ledger.intend(f"plain-{number}", "plain", Order("plain", {}, (item,)))
        client.send_task("plain.mean", (entry.key, values, seconds))
        ledger.accept(entry, entry.key)
        if number == FLUSH_AT:
            ledger.inject("plain", "FLUSHALL", time.time())
            redis.flush()
        time.sleep(0.2)
    client.close()


def _host(environment: dict[str, str], folder: Path, over: threading.Event, seed: float, ledger: Ledger) -> None:
    """A worker that is killed every few seconds and started again, until the orders are in."""
    rng, number = random.Random(seed), 0
    command = [sys.executable, "-m", "celery", "-A", "tests.torture.plain_app", "worker", "--concurrency", "2"]
    while not over.is_set():
        with (folder / "workers.log").open("ab") as log:
            worker = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        over.wait(rng.uniform(15, 25) if number < 2 else 1000)
        number += 1
        tree = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
        ledger.inject("plain", "kill -9", time.time(), pids=tuple(kill(tree)))
        worker.wait(10)
        over.wait(RESTART_S)


def _held(ledger: Ledger, results: Path) -> dict[str, Held]:
    """What its table holds, in the judge's terms: each row is a commit."""
    held: dict[str, Held] = {}
    with sqlite3.connect(results) as connection:
        rows = connection.execute("SELECT key, mean, size FROM results").fetchall()
    for entry in ledger.of("plain"):
        commits = [{"mean": mean, "size": size} for key, mean, size in rows if key == entry.key]
        state = "succeeded" if commits else "queued"
        job = Held(state, 1, None, "plain", callback=False)
        for number, item in enumerate(commits):
            origin: dict[str, Any] = {"attempt": number, "worker": "plain"}
            job.results.append((1, {"items": [item], "provenance": origin}))
            job.attempts.append({"number": number, "fence": 1, "worker_id": "plain", "outcome": "succeeded"})
            job.events.append((number, "state", {"state": "succeeded"}))
        held[entry.key] = job
    return held
