"""Commit accepted jobs, then hand them to the thread that announces them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from api.accepting import Accepted
from api.problems import FieldError, Problem, pointer
from api.services import services
from db import jobs as rows
from db import reading
from db.records import JobView, NewJob
from db.refusals import DataSetsGone, KeyReused, QueueFull, Refusal, UnknownFiles
from jobs.messages import Message

QUEUE_FULL_RETRY_S = 10


def insert(accepted: Sequence[Accepted]) -> list[str]:
    """The ids of the jobs, in order: new ones, or those that an Idempotency-Key stood for. All or nothing."""
    try:
        return _commit(accepted)
    except Refusal as refusal:
        raise refused(refusal, accepted) from None


def refused(refusal: Refusal, accepted: Sequence[Accepted]) -> Problem:
    """The problem that a refusal of these jobs is, all of them together."""
    if isinstance(refusal, QueueFull):
        return _queue_full(refusal)
    if isinstance(refusal, KeyReused):
        return _key_reused(refusal.positions if len(accepted) > 1 else ())
    if isinstance(refusal, UnknownFiles):
        return _unknown_files(accepted, refusal)
    if isinstance(refusal, DataSetsGone):
        return Problem("unknown-dataset", str(refusal))
    raise refusal


def insert_each(accepted: Sequence[Accepted]) -> list[str | Problem]:
    """The id of each job, or why it was refused. All that are good go in together; a full queue takes none of them."""
    answers: dict[int, str | Problem] = {}
    left = list(range(len(accepted)))
    while left:
        trying = [accepted[position] for position in left]
        try:
            answers |= zip(left, _commit(trying), strict=True)
        except QueueFull as full:
            answers |= dict.fromkeys(left, _queue_full(full))
        except KeyReused as reused:
            answers |= {left[at]: _key_reused([left[at]]) for at in reused.positions}
        except UnknownFiles as unknown:
            lacking = set(unknown.digests)
            answers |= {
                position: _unknown_files([accepted[position]], unknown)
                for position in left
                if not lacking.isdisjoint(accepted[position].places)
            }
        except DataSetsGone as gone:
            lost = {position for position in left if _pinned(accepted[position].job) & set(gone.ids)}
            answers |= {position: Problem("unknown-dataset", str(gone)) for position in lost}
        left = [position for position in left if position not in answers]
    return [answers[position] for position in range(len(accepted))]


def views(ids: Iterable[str]) -> dict[str, JobView]:
    """The jobs by id; raises a problem for a job that a key stands for and that was deleted since."""
    wanted = list(ids)
    found = {job.id: job for job in reading.get_many(services().database, wanted)}
    if len(found) < len(set(wanted)):
        raise Problem("job-deleted")
    return found


def _commit(accepted: Sequence[Accepted]) -> list[str]:
    here = services()
    jobs = [one.job for one in accepted]
    inserted = rows.insert(here.database, jobs, max_queued=here.settings.max_queued)
    announce([job for job, entry in zip(jobs, inserted, strict=True) if entry.created])
    return [entry.id for entry in inserted]


def announce(made: Sequence[NewJob]) -> None:
    """Tell workers and metrics of jobs that are committed."""
    here = services()
    here.outgoing.send(
        [Message(job.id, job.kind, job.pool, job.priority, job.queue) for job in made if job.run_at is None]
    )
    for kind, count in Counter(job.kind for job in made).items():
        here.metrics.submitted(kind, count)


def _pinned(job: NewJob) -> set[str]:
    """Ids of the jobs that read the data sets which this one names."""
    return {pin["id"] for pin in (job.pins or {}).values() if "id" in pin}


def _queue_full(full: QueueFull) -> Problem:
    detail = (
        f"{full.waiting} jobs are waiting of the {full.limit} that may (MEDJOBS_MAX_QUEUED); send it again in"
        f" {QUEUE_FULL_RETRY_S} seconds, or fewer jobs at once."
    )
    return Problem("queue-full", detail, headers={"Retry-After": str(QUEUE_FULL_RETRY_S)})


def _key_reused(positions: Sequence[int]) -> Problem:
    """`positions` in a batch; none for a request of one job."""
    errors = [FieldError(pointer("jobs", at), "This key stood for another job; make a new one.") for at in positions]
    header = FieldError("#/headers/Idempotency-Key", "Make a new key, for example a UUID.")
    return Problem("idempotency-key-reused", errors=errors or [header])


def _unknown_files(accepted: Sequence[Accepted], unknown: UnknownFiles) -> Problem:
    """Names where in the body the files stand that the caller does not have."""
    lacking = set(unknown.digests)
    places = [place for one in accepted for digest, place in one.places.items() if digest in lacking]
    remedy = "Upload this file with POST /v1/files first."
    return Problem("unknown-file", errors=[FieldError(pointer(*place), remedy) for place in places])
