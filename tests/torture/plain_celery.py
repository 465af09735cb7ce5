"""The harness tried on what most projects have: a Celery task with late acknowledgement that writes its result.

`app` is that project, whole; `run` puts it under the same orders, faults and judge. It must be found out.
"""

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

VISIBILITY_S = 4
"""Redis gives a message back after this (an hour by default, and then a killed worker's jobs wait for an hour)."""

JOBS = 80

app = Celery("plain", broker=os.environ.get("PLAIN_REDIS", "memory://"))
app.conf.update(
    task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1, task_ignore_result=True,
    broker_transport_options={"visibility_timeout": VISIBILITY_S}, broker_connection_retry_on_startup=True,
)  # fmt: skip


@app.task(name="plain.mean")  # type: ignore[untyped-decorator]
def mean(key: str, values: list[int], seconds: float) -> None:
    """Compute, and write the result down."""
    time.sleep(seconds)
    with sqlite3.connect(os.environ["PLAIN_RESULTS"], timeout=30) as connection:
        connection.execute("INSERT INTO results VALUES (?, ?, ?)", (key, sum(values) / len(values), len(values)))


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
        _submit(ledger, redis, rng)
        time.sleep(25)
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


def _submit(ledger: Ledger, redis: RedisServer, rng: random.Random) -> None:
    client = Celery("caller", broker=redis.url)
    for number in range(JOBS):
        values, seconds = [rng.randrange(1000) for _ in range(5)], rng.choice((0.05, 0.05, 0.2, 6.0))
        item = {"mean": sum(values) / len(values), "size": len(values)}
        entry = ledger.intend(f"plain-{number}", "plain", Order("plain", {}, (item,)))
        client.send_task("plain.mean", (entry.key, values, seconds))
        ledger.accept(entry, entry.key)
        if number == JOBS // 2:
            ledger.inject("plain", "FLUSHALL", time.time())
            redis.flush()
        time.sleep(0.1)
    client.close()


def _host(environment: dict[str, str], folder: Path, over: threading.Event, seed: float, ledger: Ledger) -> None:
    """A worker that is killed every few seconds and started again, until the orders are in."""
    rng, calm = random.Random(seed), time.monotonic() + 15
    command = [sys.executable, "-m", "celery", "-A", "tests.torture.plain_celery", "worker", "--concurrency", "2"]
    while not over.is_set():
        with (folder / "workers.log").open("ab") as log:
            worker = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        over.wait(rng.uniform(4, 7) if time.monotonic() < calm else 1000)
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
