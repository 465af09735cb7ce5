"""Commit accepted jobs, then hand them to the thread that announces them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from api.accepting import Accepted
from api.problems import FieldError, Problem, pointer
from api.services import services
from db import jobs as rows
from db import reading
from db.records import JobView
from db.refusals import KeyReused, QueueFull, UnknownFiles
from jobs.messages import Message

QUEUE_FULL_RETRY_S = 10


def insert(accepted: Sequence[Accepted]) -> list[str]:
    """The ids of the jobs, in order: new ones, or those that an Idempotency-Key stood for. All or nothing."""
    here = services()
    jobs = [one.job for one in accepted]
    try:
        inserted = rows.insert(here.database, jobs, max_queued=here.settings.max_queued)
    except QueueFull as full:
        detail = f"{full.waiting} jobs are waiting already; send it again in {QUEUE_FULL_RETRY_S} seconds."
        raise Problem("queue-full", detail, headers={"Retry-After": str(QUEUE_FULL_RETRY_S)}) from None
    except KeyReused as reused:
        errors = [FieldError("#/headers/Idempotency-Key", "Make a new key, for example a UUID.")]
        if len(accepted) > 1:
            errors = [FieldError(pointer("jobs", at), "This key stood for another job.") for at in reused.positions]
        raise Problem("idempotency-key-reused", errors=errors) from None
    except UnknownFiles as unknown:
        raise Problem("unknown-file", errors=_named(accepted, set(unknown.digests))) from None
    made = [job for job, entry in zip(jobs, inserted, strict=True) if entry.created]
    here.outgoing.send([Message(job.id, job.kind, job.pool, job.priority) for job in made if job.run_at is None])
    for kind, count in Counter(job.kind for job in made).items():
        here.metrics.submitted(kind, count)
    return [entry.id for entry in inserted]


def views(ids: Iterable[str]) -> dict[str, JobView]:
    """The jobs by id; raises a problem for a job that a key stands for and that was deleted since."""
    wanted = list(ids)
    found = {job.id: job for job in reading.get_many(services().database, wanted)}
    if len(found) < len(set(wanted)):
        raise Problem("job-deleted")
    return found


def _named(accepted: Sequence[Accepted], digests: set[str]) -> list[FieldError]:
    """Where in the body the files stand that the caller does not have."""
    remedy = "Upload this file with POST /v1/files first."
    return [
        FieldError(pointer(*place), remedy)
        for one in accepted
        for digest, place in one.places.items()
        if digest in digests
    ]
