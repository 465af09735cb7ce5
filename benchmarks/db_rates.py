"""How many jobs per second the database statements alone carry, on SQLite and on PostgreSQL, both synced to disk.

Run with `python -m benchmarks.db_rates [sqlite|postgresql URL]`; without arguments SQLite in a temporary folder, and
PostgreSQL where the tests' private one can be started.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from db import callers, jobs, schema
from db.engine import Database
from db.records import Completion, NewJob, StoredArtifact
from jobs.ids import new_id
from jobs.states import State

RESULT = {
    "items": [
        {"findings": [{"label": "pneumonia", "probability": 0.91, "decision": "positive"}], "evidence": [{}] * 4}
    ],
    "provenance": {f"library{number}": "1.2.3" for number in range(20)},
}
"""About as large as the result of one chest image."""


def inserts(db: Database, caller: int, count: int, batch: int) -> list[str]:
    """Submit `count` jobs in batches; their ids."""
    ids: list[str] = []
    for _ in range(0, count, batch):
        new = [NewJob(new_id(), caller, "diagnosis", "inference", labels={"study": "A"}) for _ in range(batch)]
        ids += [one.id for one in jobs.insert(db, new, max_queued=10**6)]
    return ids


def rounds(db: Database, ids: list[str], batch: int) -> None:
    """Claim and complete the jobs in batches, as the inference worker does."""
    artifacts = [StoredArtifact(name, "image/png", 20_000, 0) for name in ("image.png", "overlay.png")]
    for start in range(0, len(ids), batch):
        claims = jobs.claim(db, ids[start : start + batch], "w", 30, "inference")
        done = [Completion(one.id, one.fence, State.SUCCEEDED, RESULT, artifacts) for one in claims]
        assert len(jobs.complete(db, done)) == len(claims)


def next_round(db: Database, ready: list[list[str]], batch: int) -> None:
    """Claim and complete the next set of jobs that were inserted for it."""
    rounds(db, ready.pop(), batch)


def rate(work: Callable[[], object], count: int, repeats: int = 3) -> str:
    """Jobs per second: median of the repeats, and their range."""
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        rates.append(count / (time.perf_counter() - began))
    return f"{statistics.median(rates):7.0f}  ({min(rates):.0f} to {max(rates):.0f})"


def measure(url: str) -> None:
    """Print the table of one database."""
    schema.upgrade(url)
    db = Database(url)
    caller = callers.caller_id(db, "bench")
    print(f"{db.dialect:12} {'batch':>6}   jobs/s  (range of three)")
    for batch, count in ((1, 256), (32, 2048)):
        rounds(db, inserts(db, caller, batch * 4, batch), batch)  # compiles and prepares the statements
        print(f"{'insert':12} {batch:6} {rate(partial(inserts, db, caller, count, batch), count)}")
        ready = [inserts(db, caller, count, 32) for _ in range(3)]
        print(f"{'claim+commit':12} {batch:6} {rate(partial(next_round, db, ready, batch), count)}")
    db.close()


def main() -> None:
    """Measure what the arguments name."""
    if len(sys.argv) > 1:
        measure(sys.argv[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(f"sqlite:///{Path(folder) / 'bench.db'}")
    from tests.services.postgres import NoPostgres, Postgres

    try:
        server = Postgres(durable=True)
    except NoPostgres as missing:
        print(f"postgresql: not measured, {missing}")
        return
    try:
        measure(server.url(server.fresh()))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
