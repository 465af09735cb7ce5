"""POST /v1/jobs, :batch and :rerun: validated, inserted, committed; only then announced."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from flask import Response, jsonify, request
from pydantic import TypeAdapter, ValidationError

from api import auth, bodies, documenting
from api.accepting import Accepted, accept, known_kind, validated
from api.forms import is_form
from api.inputs import digests
from api.inserting import insert, insert_each, views
from api.job_form import read_form
from api.pinning import Pinner, check_pins
from api.presenting import job_json
from api.problems import FieldError, Problem
from api.routing import Routes
from api.schemas import BatchBody, JobBody, JobPath
from api.services import services
from api.submission import Batch, BatchEntry, KeyText, Submission
from api.uploads import hold
from db import reading
from db.records import JobView, NewJob
from jobs.ids import new_id

routes = Routes("jobs", __name__, url_prefix="/v1")

_KEY: TypeAdapter[str] = TypeAdapter(KeyText)

FIRST_LOOK_S = 1
"""Retry-After of a fresh job: most are done by then."""


@routes.post("/jobs", responses={202: JobBody}, openapi_extensions=documenting.SUBMIT)
@auth.needs("submit")
def submit() -> tuple[Response, int]:
    """Submit a job, as JSON or as a form with the same names and one or more parts named `file`."""
    key = idempotency_key()
    caller = auth.current()
    if is_form():
        submission, files = read_form()
        accepted = accept(submission, Pinner(caller))
        hold(services().database, services().storage, caller.id, files)
    else:
        document = bodies.read_json(services().settings.max_body_bytes)
        accepted = accept(validated(Submission, document), Pinner(caller))
    return _accepted(accepted.keyed(key))


@routes.post("/jobs:batch", responses={202: BatchBody, 200: documenting.ENTRIES}, openapi_extensions=documenting.BATCH)
@auth.needs("submit")
def submit_batch() -> tuple[Response, int]:
    """Submit up to 1,000 jobs: all or nothing, or with `"atomic": false` each for itself."""
    settings = services().settings
    batch = validated(Batch, bodies.read_json(settings.max_body_bytes))
    if len(batch.jobs) > settings.max_batch:
        detail = f"Send at most {settings.max_batch} jobs in one request."
        raise Problem("invalid-request", errors=[FieldError("#/jobs", detail)])
    key = idempotency_key()
    salt = f"batch of {len(batch.jobs)}"
    pinner = Pinner(auth.current())
    made = [_entry(entry, position, key, salt, pinner) for position, entry in enumerate(batch.jobs)]
    if not batch.atomic:
        return jsonify(jobs=_each(made)), HTTPStatus.OK
    problems = [one for one in made if isinstance(one, Problem)]
    if problems:
        codes = {problem.code for problem in problems}
        code = codes.pop() if len(codes) == 1 else "invalid-request"
        raise Problem(code, errors=[error for problem in problems for error in problem.errors])
    ids = insert([one for one in made if isinstance(one, Accepted)])
    found = views(ids)
    return jsonify(jobs=[job_json(found[job_id]) for job_id in ids]), HTTPStatus.ACCEPTED


@routes.post("/jobs/<uuid:job_id>:rerun", responses={202: JobBody})
@auth.needs("submit")
def rerun(path: JobPath) -> tuple[Response, int]:
    """Submit the same work again: same pinned model, inputs, parameters and seed."""
    job = reading.get(services().database, str(path.job_id), auth.owner())
    if job is None:
        raise Problem("not-found")
    if job.inputs_deleted_at is not None:
        raise Problem("unknown-file", "The inputs of this job were deleted; upload them and submit a new job.")
    check_pins(known_kind(job.kind), job.pins or {})
    return _accepted(Accepted(_copy(job, auth.current().id), {}).keyed(idempotency_key()))


def _copy(job: JobView, caller_id: int) -> NewJob:
    return NewJob(
        id=new_id(),
        caller_id=caller_id,
        kind=job.kind,
        pool=job.pool,
        queue=job.queue,
        model_name=job.model_name,
        model_version=job.model_version,
        inputs=job.inputs,
        digests=digests(job.inputs),
        params=job.params,
        labels=job.labels,
        priority=job.priority,
        seed=job.seed,
        timeout_s=job.timeout_s,
        callback_url=job.callback_url,
        fingerprint=f"rerun of {job.id}",
        rerun_of=job.id,
        pins=job.pins,
        action="rerun",
    )


def idempotency_key() -> str | None:
    """The header Idempotency-Key; raises a problem where it is not visible ASCII of at most 255 characters."""
    text = request.headers.get("Idempotency-Key")
    if text is None:
        return None
    try:
        return _KEY.validate_python(text)
    except ValidationError:
        error = FieldError("#/headers/Idempotency-Key", "Use 1 to 255 visible ASCII characters, such as a UUID.")
        raise Problem("invalid-request", errors=[error]) from None


def _accepted(accepted: Accepted) -> tuple[Response, int]:
    [job_id] = insert([accepted])
    answer = jsonify(job_json(views([job_id])[job_id]))
    answer.headers["Location"] = f"/v1/jobs/{job_id}"
    answer.headers["Retry-After"] = str(FIRST_LOOK_S)
    return answer, HTTPStatus.ACCEPTED


def _entry(entry: Any, position: int, key: str | None, salt: str, pinner: Pinner) -> Accepted | Problem:
    """One entry of a batch. A key of the request stands for all its jobs, each by its position."""
    prefix = ("jobs", position)
    try:
        submission = validated(BatchEntry, entry, prefix)
        accepted = accept(submission, pinner, prefix)
    except Problem as problem:
        return problem
    if submission.idempotency_key is not None:
        return accepted.keyed(submission.idempotency_key)
    return accepted.keyed(None if key is None else f"{key}#{position}", salt)


def _each(made: Sequence[Accepted | Problem]) -> list[dict[str, Any]]:
    """Insert what is good, and say of each entry what became of it."""
    inserted = iter(insert_each([one for one in made if isinstance(one, Accepted)]))
    answers = [one if isinstance(one, Problem) else next(inserted) for one in made]
    found = reading.get_many(services().database, [answer for answer in answers if isinstance(answer, str)])
    by_id = {job.id: job for job in found}
    return [_answered(answer, by_id) for answer in answers]


def _answered(answer: str | Problem, found: dict[str, JobView]) -> dict[str, Any]:
    if isinstance(answer, str) and answer not in found:
        answer = Problem("job-deleted")
    if isinstance(answer, Problem):
        return {"status": answer.sort.status, "problem": answer.body()}
    return {"status": int(HTTPStatus.ACCEPTED), "job": job_json(found[answer])}
