"""A long job's attempt as its worker makes it, but in this process, so that it can be timed beside something else."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db import callers, jobs, reading, schema, workers
from db.engine import Database
from db.records import NewJob
from db.workers import Worker
from jobs.ids import new_id
from jobs.kinds import Params
from jobs.settings import Settings
from storage.files import Storage
from workers.watch import Watch
from workers.work import Bound, LongWork

WORKER = "bench:0"


@contextmanager
def attempt(home: Path) -> Iterator[LongWork]:
    """Claim a job of its own and give what its runner would be handed, under the embedded default: SQLite and files.

    Checkpoints are synced to disk and told to the database under the fence; a watch thread renews the lease, reads the
    control columns and writes progress, metrics and logs every second. Raises RuntimeError where nothing was written.
    """
    settings = Settings(home=home)
    schema.upgrade(settings.database)
    db = Database(settings.database, pool_size=4)
    workers.register(db, Worker(WORKER, socket.gethostname(), os.getpid(), "long", "cpu"))
    job = NewJob(new_id(), callers.caller_id(db, "bench"), "training", "long", timeout_s=86_400.0)
    jobs.insert(db, [job], max_queued=1)
    (claim,) = jobs.claim(db, [job.id], WORKER, settings.lease_long_s, "long")
    bound = Bound(db, settings, claim, WORKER)
    storage = Storage(settings.storage, home / "cache")
    work = LongWork(bound, Params(), ("cpu",), home, storage)
    watch = Watch(bound, work, home / "alive", lambda reason: None)
    try:
        yield work
        watch.tell()
        told = {event.type for event in reading.events(db, claim.id)}
        saved = storage.checkpoints(claim.id, claim.fence).newest()
        if not told >= {"progress", "metric"} or saved is None or work.stopping is not None:
            raise RuntimeError(f"the attempt did not run as a job's does: events {sorted(told)}, {work.stopping}")
    finally:
        watch.finish()
        db.close()
