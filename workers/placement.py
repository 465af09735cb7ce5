"""Where a job goes that its device has no memory for, and what a result says of memory that ran short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from db import workers
from db.engine import Database
from db.records import Release
from jobs.errors import DatabaseUnavailable, JobError, ModelTooLarge
from jobs.needs import SIZES, queue_for
from jobs.settings import Settings
from jobs.states import Outcome
from workers.attempt import Attempt
from workers.ending import Ending, back_to_queue, failed


class Placement:
    """Decides for one worker."""

    def __init__(self, db: Database, settings: Settings, fitting: Sequence[str]) -> None:
        """`fitting`: the general queues whose jobs fit this worker's device."""
        self._db, self._settings, self._fitting = db, settings, fitting

    def short_of_memory(self, attempt: Attempt, error: JobError) -> Ending:
        """What models in use are in the way of comes again, uncharged. What is too large, or ran out of memory alone,
        goes on to the queue of a larger device where a worker lives that serves it; else the one has failed and the
        other is tried again."""
        claim = attempt.claim
        if not isinstance(error, ModelTooLarge) and "needed_bytes" in error.facts:
            delay = self._settings.admission_s
            return Ending(
                attempt, Release(claim.id, claim.fence, Outcome.RETRIED, delay, error.as_dict(), charge=False)
            )
        queue = self._larger(attempt, error)
        if queue is not None:
            on = Release(claim.id, claim.fence, Outcome.RETRIED, 0.0, error.as_dict(), charge=False, queue=queue)
            return Ending(attempt, on)
        if isinstance(error, ModelTooLarge):
            return failed(attempt, error)
        return back_to_queue(attempt, Outcome.RETRIED, error, self._settings)

    def _larger(self, attempt: Attempt, error: JobError) -> str | None:
        """The smallest class above this worker's own that a live worker serves, and that holds what is known to be
        needed."""
        if attempt.kind.device == "cpu":
            return None
        need = error.facts.get("needed_bytes")
        least = SIZES.index(int(queue_for("gpu", need).removeprefix("gpu-"))) if need else 0
        classes = [f"gpu-{size}" for size in SIZES[least:]]
        above = [name for name in classes if name not in self._fitting]
        try:
            live = workers.live(self._db, self._settings.worker_dead_s) if above else []
        except DatabaseUnavailable:
            return None
        staying = [
            one for one in live if one.pool == "inference" and one.control != "drain" and one.state != "draining"
        ]
        served = {name for one in staying for name in workers.queues(one)}
        return next((name for name in above if name in served), None)


def squeezed(attempt: Attempt) -> dict[str, Any]:
    """For the provenance of a job for which memory ran out: the smallest batch, and how many items ran on the CPU."""
    if attempt.batch_size is None:
        return {}
    return {"out_of_memory": {"batch_size": attempt.batch_size, "cpu_items": attempt.cpu_items}}


def said(attempt: Attempt) -> list[str]:
    """The same as sentences, for the result's warnings."""
    if attempt.batch_size is None:
        return []
    found = [f"The device ran out of memory; the smallest batch that ran held {attempt.batch_size} item(s)."]
    if attempt.cpu_items:
        found.append(f"{attempt.cpu_items} item(s) ran on the CPU, for want of memory on the device.")
    return found
