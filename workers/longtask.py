"""A long job's attempt, in the pool's child process: claim, fetch, run, store, complete.

Imported by that child (Celery starts it by `spawn`), which learns what it needs from the environment that its parent
set. The task takes an id, returns None, and raises only our own codes.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from celery import shared_task
from celery.exceptions import Ignore

from broker.queues import task_name
from broker.telling import Teller
from db import jobs, reading
from db.engine import Database
from db.records import Claim, Completion, Release, StoredArtifact
from jobs.errors import JobError, JobTimeout
from jobs.kinds import Kind, resolve
from jobs.predicting import ModelVersion, Source
from jobs.running import Finished, Stop
from jobs.settings import Settings
from jobs.states import Outcome, State
from models.catalogue import catalogue
from models.registry import kinds
from storage.files import Storage
from workers.blame import as_job_error
from workers.devices import inside
from workers.ending import retry_delay
from workers.flower import Flower
from workers.inputs import Inputs
from workers.provenance import provenance, result
from workers.work import CANCELLED, DRAINED, LOST, TIMED_OUT, Bound, LongWork, Watch

log = logging.getLogger("medjobs.workers")

WORKER_ID, NODE, DEVICE = "MEDJOBS_LONG_WORKER_ID", "MEDJOBS_LONG_NODE", "MEDJOBS_LONG_DEVICE"
"""Environment variables by which the parent tells its child who they are."""


class JobFailed(Exception):
    """The job is failed; carries the code and nothing else, because Flower and the log show it."""


def run(job_id: str) -> None:
    """One attempt. Raises `JobFailed` (Flower: FAILURE) or `Ignore` (nothing to be shown, or shown already)."""
    settings = Settings.from_environment()
    db = Database(settings.database, pool_size=4)
    flower = Flower(Teller(settings, os.environ[NODE]))
    worker_id = os.environ[WORKER_ID]
    try:
        claims = jobs.claim(db, [job_id], worker_id, settings.lease_long_s, "long")
        if not claims:
            _tell_cancelled(db, flower, job_id)
            raise Ignore
        _attempt(Bound(db, settings, claims[0], worker_id), flower)
    finally:
        db.close()


def _attempt(bound: Bound, flower: Flower) -> None:
    claim = bound.claim
    folder = bound.settings.home / "scratch" / f"{claim.id}-{claim.fence}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _run(bound, folder)
    except Stop as stop:
        reason = str(stop.args[0]) if stop.args else LOST
        (stopped(bound, reason) or (lambda: None))()
        flower.tell([flower.revoked(claim.id) if reason == CANCELLED else flower.retried(claim.id, reason)])
        if reason == TIMED_OUT:
            raise JobFailed(JobTimeout.code) from None
        raise Ignore from None
    except Exception as error:
        coded = as_job_error(error, "run")
        if coded.retryable:
            back = Release(claim.id, claim.fence, Outcome.RETRIED, retry_delay(claim, bound.settings), coded.as_dict())
            jobs.release(bound.db, [back], max_attempts=bound.settings.max_attempts)
            flower.tell([flower.retried(claim.id, coded.code)])
            raise Ignore from None
        _fail(bound, coded)
        raise JobFailed(coded.code) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(bound: Bound, folder: Path) -> None:
    """Raises `Stop` with its reason."""
    claim, settings = bound.claim, bound.settings
    kind = kinds()[claim.kind]
    storage = Storage(settings.storage, settings.home / "cache")
    model = None
    if claim.model_name is not None and claim.model_version is not None:
        model = catalogue().get(claim.model_name, claim.model_version)
    params = kind.params.model_validate(claim.params)
    sources = _sources(storage, folder, kind, claim)
    stored = storage.checkpoints(claim.id, claim.fence)
    work = LongWork(bound, params, sources, model, inside(os.environ[DEVICE]), folder, stored)
    alive = alive_file(settings, bound.worker_id)
    watch = Watch(bound, work, alive)
    try:
        finished = resolve(kind.runner or "")(work)
    except Stop:
        raise Stop(work.stopping or LOST) from None
    finally:
        watch.finish()
        alive.unlink(missing_ok=True)
    if work.stopping == LOST:
        raise Stop(LOST)
    _complete(bound, storage, model, finished)


def _sources(storage: Storage, folder: Path, kind: Kind, claim: Claim) -> tuple[Source, ...]:
    """A long job needs all of its inputs: the first that cannot be had fails it."""
    found = Inputs(storage, folder, kind.max_inputs).sources(claim.inputs)
    for source in found:
        if isinstance(source, JobError):
            raise source
    return tuple(source for source in found if isinstance(source, Source))


def _complete(bound: Bound, storage: Storage, model: ModelVersion | None, finished: Finished) -> None:
    claim = bound.claim
    storage.put_artifacts([(claim.id, claim.fence, file.name, file.content) for file in finished.artifacts])
    files = [StoredArtifact(f.name, f.media_type, len(f.content), f.item) for f in finished.artifacts]
    origin = provenance(claim, model, bound.worker_id, finished.provenance)
    body = result(claim, finished.items, files, [], origin)
    jobs.complete(bound.db, [Completion(claim.id, claim.fence, State.SUCCEEDED, body, files)])


def stopped(bound: Bound, reason: str) -> Callable[[], Any] | None:
    """What to commit for a job that was told to stop; None where it is no longer ours."""
    claim = bound.claim
    if reason == CANCELLED:
        return partial(jobs.complete, bound.db, [Completion(claim.id, claim.fence, State.CANCELLED)])
    if reason == TIMED_OUT:
        return partial(_fail, bound, JobTimeout(timeout_s=claim.timeout_s))
    if reason == DRAINED:
        return partial(jobs.release, bound.db, [Release(claim.id, claim.fence, Outcome.DRAINED, charge=False)])
    return None


def alive_file(settings: Settings, worker_id: str) -> Path:
    """The file that a busy child touches, several times a second."""
    folder = settings.home / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{worker_id.replace('/', '_')}.alive"


def _fail(bound: Bound, error: JobError) -> None:
    claim = bound.claim
    jobs.complete(bound.db, [Completion(claim.id, claim.fence, State.FAILED, error=error.as_dict())])


def _tell_cancelled(db: Database, flower: Flower, job_id: str) -> None:
    """The message was late: cancelled meanwhile, or taken by another."""
    job = reading.get(db, job_id)
    if job is not None and job.state is State.CANCELLED:
        flower.tell([flower.revoked(job_id)])


def _register() -> None:
    """A Celery task for each kind of the long pool."""
    for kind in kinds().values():
        if kind.pool == "long" and kind.runner:
            shared_task(name=task_name(kind.name), ignore_result=True, throws=(JobFailed,), Request=_REQUEST)(run)


_REQUEST = "workers.longrequest:LongRequest"
_register()
