"""Where a job goes that its device has no memory for, by the workers that live."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from db import workers
from db.engine import Database
from jobs.errors import OutOfMemory
from jobs.settings import Settings
from workers.attempt import Attempt
from workers.placement import Placement


def test_a_job_goes_to_a_larger_device_only_where_a_worker_stays_there(database: Database) -> None:
    """Given workers on larger devices that drain, or cannot start, then their queues are none to go to."""
    here = Placement(database, Settings(), ["gpu-16", "gpu-8", "gpu", "any"])
    attempt = cast(Attempt, SimpleNamespace(kind=SimpleNamespace(device="any")))

    def larger() -> str | None:
        return here._larger(attempt, OutOfMemory())

    def lives(name: str, queue: str, **more: Any) -> None:
        facts = {"queues": [queue]}
        workers.register(database, workers.Worker(name, "h", 1, "inference", "cuda:0", facts, **more))

    assert larger() is None
    lives("drains", "gpu-24", state="draining")
    lives("is told to", "gpu-24", state="idle")
    assert larger() == "gpu-24"
    workers.drain(database, "is told to")
    lives("cannot start", "gpu-24", state="restarting")
    assert larger() is None
    lives("stays", "gpu-80", state="idle")
    assert larger() == "gpu-80"
    lives("fits better", "gpu-24", state="busy")
    assert larger() == "gpu-24"
