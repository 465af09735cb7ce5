"""A long job's attempt, in the pool's child process: claim, fetch, run, store, complete.

Imported by that child (Celery starts it by `spawn`), which learns what it needs from the environment that its parent
set. The task takes an id, returns None, and raises only our own codes.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from celery import shared_task
from celery.exceptions import Ignore

from broker.queues import task_name
from broker.telling import Teller
from db import jobs, reading
from db.engine import Database
from db.records import Claim, Completion, Release, StoredArtifact
from db.refusals import VersionExists
from jobs import logs
from jobs.errors import DatabaseUnavailable, JobError, JobTimeout, ModelUnusable, OutOfMemory
from jobs.kinds import Kind, resolve
from jobs.predicting import Source
from jobs.running import Finished, Stop
from jobs.settings import Settings
from jobs.states import Outcome, State
from models.catalogue import UnknownModel
from models.registry import kinds
from registry.versions import Registry
from storage.files import Storage
from workers.admission import free_bytes
from workers.blame import as_job_error
from workers.datasets import DataSets
from workers.devices import inside
from workers.ending import retry_delay
from workers.flower import Flower
from workers.inputs import Inputs
from workers.provenance import Used, provenance, result
from workers.registering import register
from workers.watch import Watch
from workers.work import CANCELLED, DRAINED, LOST, TIMED_OUT, Bound, LongWork

log = logging.getLogger("medjobs.workers")

T = TypeVar("T")

WORKER_ID, NODE, DEVICE = "MEDJOBS_LONG_WORKER_ID", "MEDJOBS_LONG_NODE", "MEDJOBS_LONG_DEVICE"
QUEUES = "MEDJOBS_LONG_QUEUES"
"""Environment variables by which the parent tells its child who they are."""


NICE = 10
"""Scheduling priority of the child, for every thread that it starts from here: an inference that needs a processor gets
it, and the training has what is left."""


class JobFailed(Exception):
    """The job is failed; carries the code and nothing else, because Flower and the log show it."""


def run(job_id: str) -> None:
    """One attempt. Raises `JobFailed` (Flower: FAILURE) or `Ignore` (nothing to be shown, or shown already)."""
    os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    settings = Settings.from_environment()
    db = Database(settings.database, pool_size=4, wait_s=settings.database_wait_s)
    flower = Flower(Teller(settings, os.environ[NODE]))
    worker_id = os.environ[WORKER_ID]
    try:
        claims = jobs.claim(db, [job_id], worker_id, settings.lease_long_s, "long", os.environ[QUEUES].split(","))
        if not claims:
            _tell_cancelled(db, flower, job_id)
            raise Ignore
        bound = Bound(db, settings, claims[0], worker_id)
        if not _admitted(bound):
            flower.tell([flower.retried(job_id, OutOfMemory.code)])
            raise Ignore
        _attempt(bound, flower)
    finally:
        db.close()


def _admitted(bound: Bound) -> bool:
    """Whether the GPUs have room for a training beside the models that serve inference; else the job waits, uncharged,
    and its stream says so."""
    claim, free, wanted = bound.claim, free_bytes(), bound.settings.training_memory
    if free is None or free >= wanted:
        return True
    message = f"waits for room on the GPU: {free >> 20} MiB are free, MEDJOBS_TRAINING_MEMORY asks for {wanted >> 20}"
    persist(bound, lambda: jobs.append_event(bound.db, claim.id, claim.fence, "log", {"message": message}))
    error = OutOfMemory("The GPU has no room for a training now; the job is tried again by itself.")
    delay = bound.settings.admission_s
    back = Release(claim.id, claim.fence, Outcome.RETRIED, delay, error.as_dict(), charge=False)
    persist(bound, lambda: jobs.release(bound.db, [back]))
    return False


def _attempt(bound: Bound, flower: Flower) -> None:
    claim = bound.claim
    logs.bind(worker=bound.worker_id, job_id=claim.id, fence=claim.fence, kind=claim.kind)
    logs.attempts.info("attempt begins")
    folder = bound.settings.home / "scratch" / f"{claim.id}-{claim.fence}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _run(bound, folder)
    except Stop as stop:
        reason = str(stop.args[0]) if stop.args else LOST
        logs.attempts.info("attempt ends", extra={"outcome": reason})
        persist(bound, stopped(bound, reason) or (lambda: None))
        flower.tell([flower.revoked(claim.id) if reason == CANCELLED else flower.retried(claim.id, reason)])
        if reason == TIMED_OUT:
            raise JobFailed(JobTimeout.code) from None
        raise Ignore from None
    except Exception as error:
        coded = as_job_error(error, "run")
        outcome = Outcome.RETRIED if coded.retryable else Outcome.FAILED
        logs.attempts.info("attempt ends", extra={"outcome": outcome.value, "code": coded.code})
        if coded.retryable:
            back = Release(claim.id, claim.fence, Outcome.RETRIED, retry_delay(claim, bound.settings), coded.as_dict())
            persist(bound, partial(jobs.release, bound.db, [back], max_attempts=bound.settings.max_attempts))
            flower.tell([flower.retried(claim.id, coded.code)])
            raise Ignore from None
        persist(bound, partial(_fail, bound, coded))
        raise JobFailed(coded.code) from None
    else:
        logs.attempts.info("attempt ends", extra={"outcome": Outcome.SUCCEEDED.value})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(bound: Bound, folder: Path) -> None:
    """Raises `Stop` with its reason. The lease is renewed from the first fetch to the completion."""
    claim, settings = bound.claim, bound.settings
    kind = kinds()[claim.kind]
    storage = Storage(settings.storage, settings.home / "cache")
    params = kind.params.model_validate(claim.params)
    work = LongWork(bound, params, inside(os.environ[DEVICE]), folder, storage)
    watch = Watch(bound, work, alive_file(settings, bound.worker_id), lambda reason: _end(bound, reason))
    try:
        used = _equip(bound, storage, kind, work)
        finished = resolve(kind.runner or "")(work)
        if work.stopping == LOST:
            raise Stop
        _complete(bound, storage, watch, used, finished)
    except Stop:
        raise Stop(work.stopping or LOST) from None
    finally:
        watch.finish()


def _equip(bound: Bound, storage: Storage, kind: Kind, work: LongWork) -> Used | None:
    """Fetch all that the job names: inputs, model, data sets, versions. The model's version, where it has one."""
    claim, cache = bound.claim, bound.settings.home / "cache"
    registry = Registry(bound.db, storage, cache / "models")
    datasets = DataSets(bound.db, storage, cache / "datasets")
    pins: dict[str, Any] = claim.pins or {}
    try:
        used = None
        if claim.model_name is not None and claim.model_version is not None:
            used = Used.of(registry, claim.model_name, claim.model_version)
            work.model = used.version
        work.versions = {
            field: registry.local(pin["name"], pin["version"]) for field, pin in pins.items() if "version" in pin
        }
    except UnknownModel:
        raise ModelUnusable("The registry does not hold the pinned model version.") from None
    work.datasets = {field: datasets.local(pin) for field, pin in pins.items() if "fingerprint" in pin}
    work.sources = _sources(storage, work.folder, kind, claim)
    first = reading.result(bound.db, claim.rerun_of) if claim.rerun_of else None
    work.original = first and first.result["provenance"]
    return used


def _sources(storage: Storage, folder: Path, kind: Kind, claim: Claim) -> tuple[Source, ...]:
    """A long job needs all of its inputs: the first that cannot be had fails it."""
    found = Inputs(storage, folder, kind).sources(claim.inputs)
    for source in found:
        if isinstance(source, JobError):
            raise source
    return tuple(source for source in found if isinstance(source, Source))


def _complete(bound: Bound, storage: Storage, watch: Watch, used: Used | None, finished: Finished) -> None:
    """Everything is stored before anything counts; result, artifacts and new version count with one transaction.

    Where an equal training ends in between, its version is found at the second look, and this one adds none.
    """
    claim = bound.claim
    new = finished.version
    made = persist(bound, lambda: register(bound, storage, new)) if new is not None else None
    items = made.named_in(finished.items) if made is not None else finished.items
    storage.put_artifacts([(claim.id, claim.fence, file.name, file.content) for file in finished.artifacts])
    files = [StoredArtifact(f.name, f.media_type, f.size, f.item) for f in finished.artifacts]
    origin = provenance(claim, used, bound.worker_id, {"device": inside(os.environ[DEVICE])[0], **finished.provenance})
    body = result(claim, items, files, list(finished.warnings), origin)
    if made is not None and made.row is None:
        watch.work.log(f"equal to {made.name}@{made.number}, which is registered already; no new version")
    persist(bound, watch.tell)
    done = Completion(claim.id, claim.fence, State.SUCCEEDED, body, files, version=made and made.row)
    try:
        accepted = persist(bound, partial(jobs.complete, bound.db, [done]))
    except VersionExists:
        return _complete(bound, storage, watch, used, finished)
    if not accepted:
        raise Stop
    return None


def _end(bound: Bound, reason: str) -> None:
    """Commit the end of a job whose runner does not listen."""
    ending = stopped(bound, reason)
    if ending is not None:
        persist(bound, ending)


def persist(bound: Bound, step: Callable[[], T]) -> T:
    """Do it again while the database is away, for as long as the lease could live: the fence decides whether it still
    counts. Raises `DatabaseUnavailable` after that."""
    until, pause = time.monotonic() + bound.settings.lease_long_s, 0.1
    while True:
        try:
            return step()
        except DatabaseUnavailable:
            if time.monotonic() > until:
                raise
        log.warning("the database is away; the end of job %s waits", bound.claim.id)
        alive_file(bound.settings, bound.worker_id).touch()  # who waits is not stuck
        time.sleep(pause)
        pause = min(2.0, pause * 2)


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
