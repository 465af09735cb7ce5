"""Latencies of every statement that a submit, a worker, a caller and the keeper make, as the table of jobs grows.

All sizes are measured in turn, call by call, so that a disturbance of the machine falls on all of them. Each round
submits, claims and completes as many jobs, so the queue stays at 100,000.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from benchmarks.db_rates import RESULT
from benchmarks.scale.fill import CALLERS, SPAN_S, WAITING
from db import depths, jobs, reading, retention, schema, submitting, workers
from db.engine import Database
from db.reading import Cursor, Filters
from db.records import Claim, Completion, NewJob, StoredArtifact
from db.suspects import crashed
from jobs.ids import new_id
from jobs.states import State

DAY_S = 86_400.0
WORKER = "w0"
BATCH = 32
MANY, FEW = 1, CALLERS
"""The caller of three jobs in five, and the one of every 500,000th."""

Milliseconds = dict[str, list[float]]


@dataclass
class Size:
    """One database, and what the next calls of a round need."""

    ended: int
    db: Database
    waiting: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    held: list[Claim] = field(default_factory=list)
    one: list[Claim] = field(default_factory=list)
    some: list[str] = field(default_factory=list)
    """Ids of jobs that ended, anywhere in the two years."""

    took: Milliseconds = field(default_factory=lambda: defaultdict(list))

    def prepare(self, rounds: int) -> None:
        """Note the ids that messages would carry; hold the leases of what runs; the oldest job that ended."""
        schema.upgrade(str(self.db.url.render_as_string(hide_password=False)))
        with self.db.write() as connection:
            run = connection.execute
            run(text("UPDATE jobs SET lease_until = extract(epoch from now()) + 3600 WHERE state = 'running'"))
            run(text("UPDATE workers SET heartbeat_at = extract(epoch from now()) + 3600, gone_at = NULL"))
        with self.db.read() as connection:
            found = connection.execute(
                text(
                    "SELECT id FROM jobs WHERE state = 'queued' AND pool = 'inference' AND sent_at IS NOT NULL"
                    " ORDER BY id LIMIT :most"
                ),
                {"most": rounds * (BATCH + 1)},
            )
            self.waiting = list(found.scalars())
            share = min(100.0, 100 * 2000 / self.ended)
            picked = connection.execute(
                text(f"SELECT id FROM jobs TABLESAMPLE SYSTEM ({share}) WHERE state = 'succeeded' LIMIT 1000")
            )
            self.some = list(picked.scalars())

    def take(self, count: int) -> list[str]:
        """Ids of the next messages."""
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken


def _submit(size: Size, count: int) -> None:
    labels = {"study": f"now-{random.randrange(50)}", "site": random.choice("ABCD")}
    inputs = [{"data": {"inline": "x" * 32}}]
    new = [NewJob(new_id(), MANY, "prediction", "inference", inputs=inputs, labels=labels) for _ in range(count)]
    size.new += [one.id for one in jobs.insert(size.db, new, max_queued=10 * WAITING)]


def _sent(size: Size) -> None:
    jobs.mark_sent(size.db, size.new)
    size.new = []


def _claim(size: Size, count: int) -> list[Claim]:
    """As a worker's taker: who crashed before, and then the claim."""
    ids = size.take(count)
    assert not crashed(size.db, ids)
    claims = jobs.claim(size.db, ids, WORKER, 30.0, "inference")
    assert len(claims) == count
    return claims


def _complete(size: Size, claims: Sequence[Claim]) -> None:
    files = [StoredArtifact("image.png", "image/png", 20_000, 0)]
    done = [Completion(one.id, one.fence, State.SUCCEEDED, RESULT, files) for one in claims]
    assert len(jobs.complete(size.db, done)) == len(claims)


def _renew(size: Size) -> None:
    assert not jobs.renew(size.db, WORKER, {one.id: one.fence for one in size.held}, 30.0).lost


def _list(**narrowed: Any) -> Callable[[Size], None]:
    """One page of 50; `deep` starts it somewhere in the two years."""
    caller, deep = narrowed.pop("caller", None), narrowed.pop("deep", False)

    def call(size: Size) -> None:
        filters = dict(narrowed)
        if filters.get("labels") == "study":
            filters["labels"] = {"study": f"S{random.randrange(size.ended // 500)}"}
        after = Cursor(time.time() - random.random() * SPAN_S, "0") if deep else None
        reading.listing(size.db, caller, Filters(**filters), after=after)

    return call


def _round() -> Iterator[tuple[str, Callable[[Size], Any]]]:
    """What is measured, in the order of a job's life, so that each call finds what the one before it left."""
    yield "submit 1", lambda size: _submit(size, 1)
    yield f"submit {BATCH}", lambda size: _submit(size, BATCH)
    yield f"note {BATCH + 1} as sent", _sent
    yield "claim 1", lambda size: setattr(size, "one", _claim(size, 1))
    yield f"claim {BATCH}", lambda size: setattr(size, "held", _claim(size, BATCH))
    yield f"renew {BATCH} leases", _renew
    yield "heartbeat", lambda size: workers.heartbeat(size.db, WORKER, [], {}, "idle")
    yield "complete 1", lambda size: _complete(size, size.one)
    yield f"complete {BATCH}", lambda size: _complete(size, size.held)
    yield "get a job", lambda size: reading.get(size.db, random.choice(size.some))
    yield "its result", lambda size: reading.result(size.db, random.choice(size.some))
    yield "its events", lambda size: reading.events(size.db, random.choice(size.some))
    yield "list: first page", _list()
    yield "list: deep cursor", _list(deep=True)
    for state in (State.QUEUED, State.RUNNING, State.FAILED, State.CANCELLED):
        yield f"list: state {state.value}", _list(states=(state,))
    yield "list: states queued, running", _list(states=(State.QUEUED, State.RUNNING))
    yield "list: states failed, cancelled, deep", _list(states=(State.FAILED, State.CANCELLED), deep=True)
    yield "list: kind, half of the jobs", _list(kind="diagnosis")
    yield "list: kind, 1 job in 1,000", _list(kind="training")
    yield "list: kind, none", _list(kind="dataset-of-nobody")
    yield "list: model, 1 job in 1,000", _list(model_name="icu-mortality")
    yield "list: label, 1 job in 4", _list(labels={"site": "A"})
    yield "list: label, 500 jobs", _list(labels="study")
    yield "list: label, 1 job in 1,000,000", _list(labels={"flag": "review"})
    yield "list: label, none", _list(labels={"study": "nothing"})
    yield "list: label, 1 job in 4, running", _list(labels={"site": "A"}, states=(State.RUNNING,))
    yield "list: label, 1 job in 4, queued", _list(labels={"site": "A"}, states=(State.QUEUED,))
    yield "list: caller with few jobs, label, 1 job in 4", _list(caller=FEW, labels={"site": "A"})
    yield "list: caller of 60 %", _list(caller=MANY)
    yield "list: caller of 60 %, deep", _list(caller=MANY, deep=True)
    yield "list: caller of 60 %, label of 500", _list(caller=MANY, labels="study")
    yield "list: caller of 60 %, kind of 1 in 1,000", _list(caller=MANY, kind="training")
    yield "list: caller of 60 %, queued", _list(caller=MANY, states=(State.QUEUED,))
    yield "list: caller of 60 %, running", _list(caller=MANY, states=(State.RUNNING,))
    yield "list: caller with few jobs", _list(caller=FEW)
    yield "list: caller with few jobs, failed", _list(caller=FEW, states=(State.FAILED,))
    yield "list: caller of 2 %, failed", _list(caller=5, states=(State.FAILED,))
    yield "metrics", lambda size: depths.queue_depths(size.db)
    yield "count of the queue", lambda size: size.db.query(lambda c: c.execute(submitting._COUNTING).scalar_one())
    yield "keeper: unsent", lambda size: jobs.to_send(size.db, 1000, fresh_s=2.0)
    yield "keeper: anything lost", lambda size: jobs.lost(size.db, "inference", limit=1)
    yield "keeper: lost of a list, none", lambda size: jobs.lost(size.db, "inference", before=1.0, priority=5)
    yield "keeper: leases", lambda size: jobs.expire_leases(size.db, worker_dead_s=20.0, max_crashes=3)
    yield "keeper: boost", lambda size: jobs.boost(size.db, 3 * DAY_S)
    yield "keeper: inputs that are due", lambda size: retention.forget_inputs(size.db, older_s=30 * DAY_S)
    yield "keeper: records, none due", lambda size: retention.purge_records(size.db, older_s=1000 * DAY_S)
    yield "keeper: delete 10 records", lambda size: retention.purge_records(size.db, older_s=365 * DAY_S, limit=10)
    yield (
        "keeper: bytes without owner",
        lambda size: retention.sweep_blobs(size.db, grace_s=3600.0, remove=lambda digest: False),
    )


def measure(urls: dict[int, str], rounds: int, only: str = "") -> list[Size]:
    """Time every call `rounds` times on every size, after a few that count for nothing.

    `only`: calls whose name holds this text, beside those that keep the queue going.
    """
    sizes = [Size(ended, Database(url, wait_s=120.0)) for ended, url in urls.items()]
    unmeasured = min(12, rounds)
    for size in sizes:
        size.prepare(rounds + unmeasured)
    steps = [(name, call) for name, call in _round() if only in name or not name.startswith(("list", "keeper"))]
    for number in range(unmeasured + rounds):
        for name, call in steps:
            for size in sizes:
                began = time.perf_counter()
                call(size)
                if number >= unmeasured:
                    size.took[name].append(1000 * (time.perf_counter() - began))
    for size in sizes:
        size.db.close()
    return sizes


def table(sizes: Sequence[Size]) -> str:
    """Markdown: a row per call, p50 / p99 / max in milliseconds per size."""
    heads = [f"{size.ended:,}" for size in sizes]
    lines = ["| ms: p50 / p99 / max | " + " | ".join(heads) + " |", "|---|" + "---|" * len(sizes)]
    for name in sizes[0].took:
        cells = [_figures(sorted(size.took[name])) for size in sizes]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _figures(ordered: Sequence[float]) -> str:
    shown = (ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], ordered[-1])
    return " / ".join(f"{value:.1f}" if value < 100 else f"{value:.0f}" for value in shown)
