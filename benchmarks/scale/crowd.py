"""Up to 64 workers without torch on the real Redis and PostgreSQL, beside a real keeper: where the first wall is.

A simulated worker does what a real one does to the rest of the stack: it takes messages from Redis, claims them, holds
them for as long as a GPU would, completes them with a result, renews its leases and beats its heart. Many share a
process, so that a machine without room for 64 times torch carries them.
"""

from __future__ import annotations

import multiprocessing
import random
import sys
import threading
import time
from collections import defaultdict
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.db_rates import RESULT
from benchmarks.scale.parts import Parts, running
from broker.connection import connect
from broker.dispatch import Dispatcher
from broker.health import heads
from broker.queues import redis_lists
from broker.wire import job_id
from db import callers, jobs, workers
from db.engine import Database
from db.records import Completion, NewJob
from db.suspects import crashed
from jobs.ids import new_id
from jobs.messages import Message
from jobs.settings import Settings
from jobs.states import State

DATABASE = "crowd"
BATCH, PREDICT_S = 32, 2.0
"""Sixteen jobs per second and worker, as in the fleet."""

PER_PROCESS = 8
EVERY_S = 5.0
"""Renewals and heartbeats: the defaults of the settings."""

Took = dict[str, list[float]]


class Simulated:
    """One worker: a thread for its jobs, and one for its leases and its heart."""

    def __init__(self, settings: Settings, name: str, stopping: Any, took: Took) -> None:
        """Registers it."""
        self.db = Database(settings.database, pool_size=2)
        self.redis = connect(settings.redis, 10.0)
        self.name, self.stopping, self.took = name, stopping, took
        self.held: dict[str, int] = {}
        workers.register(self.db, workers.Worker(name, "crowd", 1, "inference", "cpu"))
        self.threads = [threading.Thread(target=self._work), threading.Thread(target=self._live)]
        for thread in self.threads:
            thread.start()

    def _timed(self, what: str, call: Any, *arguments: Any) -> Any:
        began = time.perf_counter()
        answer = call(*arguments)
        self.took[what].append(1000 * (time.perf_counter() - began))
        return answer

    def _work(self) -> None:
        while not self.stopping.is_set():
            ids = self._messages()
            if not ids:
                time.sleep(0.2)
                continue
            claims = self._timed("claim", self._claim, ids)
            self.held = {claim.id: claim.fence for claim in claims}
            time.sleep(PREDICT_S * random.uniform(0.5, 1.5))  # a fleet does not claim in step
            done = [Completion(claim.id, claim.fence, State.SUCCEEDED, RESULT) for claim in claims]
            self._timed("complete", jobs.complete, self.db, done)
            self.held = {}
            self.took["done"].append(len(done))

    def _messages(self) -> list[str]:
        """A full batch, from the most urgent list that has any."""
        found: list[str] = []
        for key in redis_lists("inference"):
            if len(found) < BATCH:
                raw: Any = self.redis.rpop(key, BATCH - len(found))
                found += [name for one in raw or () if (name := job_id(one)) is not None]
        return found

    def _claim(self, ids: list[str]) -> list[Any]:
        suspects = crashed(self.db, ids)
        return jobs.claim(self.db, [one for one in ids if one not in suspects], self.name, 30.0, "inference")

    def _live(self) -> None:
        while not self.stopping.wait(EVERY_S):
            held = dict(self.held)
            self._timed("renew", jobs.renew, self.db, self.name, held, 30.0)
            self._timed("heartbeat", workers.heartbeat, self.db, self.name, sorted(held), {}, "busy")

    def close(self) -> None:
        """Wait for its end."""
        for thread in self.threads:
            thread.join()
        workers.gone(self.db, self.name)
        self.db.close()


def _process(settings: Settings, names: list[str], stopping: Any, answers: Queue[Took]) -> None:
    """Several workers, until told to stop."""
    took: Took = defaultdict(list)
    crowd = [Simulated(settings, name, stopping, took) for name in names]
    for worker in crowd:
        worker.close()
    answers.put(dict(took))


def fill(parts: Parts, count: int) -> None:
    """Queue `count` jobs, sent."""
    caller = callers.caller_id(parts.db, "crowd")
    dispatcher = Dispatcher(parts.settings)
    for first in range(0, count, 1000):
        some = min(1000, count - first)
        new = [NewJob(new_id(), caller, "bench-sleep", "inference", labels={"site": "A"}) for _ in range(some)]
        jobs.insert(parts.db, new, max_queued=10**9)
        jobs.mark_sent(parts.db, dispatcher.send([Message(job.id, job.kind, job.pool, job.priority) for job in new]))


def window(parts: Parts, count: int, seconds: float, keeper: Any) -> str:
    """One line of the table: `count` workers for a while."""
    context = multiprocessing.get_context("spawn")
    stopping, answers = context.Event(), context.Queue()
    names = [f"crowd-{new_id()}" for _ in range(count)]
    groups = [names[first : first + PER_PROCESS] for first in range(0, count, PER_PROCESS)]
    crowd = [context.Process(target=_process, args=(parts.settings, group, stopping, answers)) for group in groups]
    for process in crowd:
        process.start()
    time.sleep(10.0)  # until all have started
    before, began = _cpu(parts, keeper), time.monotonic()
    since = _count(parts)
    time.sleep(seconds)
    passed, after = time.monotonic() - began, _cpu(parts, keeper)
    rate = (_count(parts) - since) / passed
    stopping.set()
    took: Took = defaultdict(list)
    for _ in crowd:
        for what, found in answers.get(timeout=120).items():
            took[what] += found
    for process in crowd:
        process.join()
    ideal = count * BATCH / PREDICT_S
    cells = [f"{count}", f"{rate:.0f}", f"{rate / ideal:.2f}"]
    cells += [_figures(took[what]) for what in ("claim", "renew", "heartbeat", "complete")]
    cells += [f"{(after[part] - before[part]) / passed:.2f}" for part in after]
    return "| " + " | ".join(cells) + " |"


def _figures(found: list[float]) -> str:
    ordered = sorted(found) or [0.0]
    return f"{ordered[len(ordered) // 2]:.0f} / {ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]:.0f}"


def _cpu(parts: Parts, keeper: Any) -> dict[str, float]:
    return {
        "PostgreSQL": parts.cpu(parts.postgres_pid), "Redis": parts.redis_cpu(), "keeper": parts.cpu(keeper),
    }  # fmt: skip


def _count(parts: Parts, state: State = State.SUCCEEDED) -> int:
    asked = text("SELECT count(*) FROM jobs WHERE state = :state")
    return int(parts.db.query(lambda connection: connection.execute(asked, {"state": state.value}).scalar_one()))


def recovery(parts: Parts) -> str:
    """FLUSHALL, and the seconds until each job that waits has its message again."""
    waiting = _count(parts, State.QUEUED)
    time.sleep(2 * parts.settings.resend_s)  # what was sent less than that before the first that is sent again waits
    parts.redis.flush()
    began = time.monotonic()
    back = 0
    while back < waiting and time.monotonic() - began < 600:
        time.sleep(0.5)
        back = sum(head.waiting for head in heads(parts.settings, "inference"))
    return f"FLUSHALL with {waiting:,} jobs queued: {back:,} messages were back after {time.monotonic() - began:.0f} s."


def measure(folder: Path, counts: tuple[int, ...], seconds: float, queued: int) -> str:
    """The report."""
    with running(folder, DATABASE) as parts:
        with parts.db.write() as connection:
            connection.execute(text("TRUNCATE jobs, workers CASCADE"))
        keeper = parts.start("keeper", "workers.keeper")
        heads_ = ["workers", "jobs/s", "of linear", "claim", "renew", "heartbeat", "complete"]
        heads_ += [f"{part}, cores" for part in ("PostgreSQL", "Redis", "keeper")]
        lines = ["| " + " | ".join(heads_) + " |", "|---|" + "---|" * (len(heads_) - 1)]
        for count in counts:
            fill(parts, max(0, queued - _count(parts, State.QUEUED)))
            lines.append(window(parts, count, seconds, keeper))
            print(lines[-1], file=sys.stderr)
        fill(parts, max(0, queued - _count(parts, State.QUEUED)))
        return "\n".join([*lines, "", "Latencies: p50 / p99 in ms, batches of 32.", "", recovery(parts)])
