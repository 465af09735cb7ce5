"""GET /v1/jobs and /v1/jobs/{id}, with `?wait=`."""

from __future__ import annotations

from flask import Response, jsonify

from api import auth
from api.presenting import job_json
from api.problems import FieldError, Problem
from api.routing import Routes
from api.schemas import JobBody, JobList, JobPath, ListQuery, WaitQuery
from api.services import services
from db import reading
from db.reading import Cursor, Filters
from db.records import JobView
from jobs.states import FINAL

routes = Routes("job_reading", __name__, url_prefix="/v1")

MICROSECOND = 1e-6

RETRY_AFTER_S = 1
"""When to ask again about a job that has not ended."""

CROWDED_S = 3
"""The same where there was no room to wait: with hundreds of callers their asking is what slows the submits."""


@routes.get("/jobs/<uuid:job_id>", responses={200: JobBody})
@auth.needs("read")
def read(path: JobPath, query: WaitQuery) -> Response:
    """A job. `?wait=30` holds the answer until it ends or 30 s passed; a busy server answers at once."""
    longest = services().settings.max_wait_s
    if query.wait > longest:
        error = FieldError("#/query/wait", f"Wait at most {longest:g} seconds, and ask again.")
        raise Problem("invalid-request", errors=[error])
    job = visible(str(path.job_id))
    again = RETRY_AFTER_S
    if query.wait > 0 and job.state not in FINAL:
        if services().holds.take():
            job = _held(job, query.wait)
        else:
            again = CROWDED_S
    answer = jsonify(job_json(job))
    if job.state not in FINAL:
        answer.headers["Retry-After"] = str(again)
    return answer


@routes.get("/jobs", responses={200: JobList})
@auth.needs("read")
def listing(query: ListQuery) -> Response:
    """Jobs, newest first; an admin sees every caller's."""
    here = services()
    name, _, version = (query.model or "").partition("@")
    if version and not (version.isascii() and version.isdecimal() and len(version) < 10):
        error = FieldError("#/query/model", "Filter by `name` or `name@version` with a number.")
        raise Problem("invalid-request", errors=[error])
    context = [auth.owner(), query.model_dump(mode="json", exclude={"cursor", "limit"})]
    after = None if query.cursor is None else Cursor(*here.cursors.read(query.cursor, context))
    filters = Filters(
        states=query.state,
        kind=query.kind,
        model_name=name or None,
        model_version=int(version) if version else None,
        labels=query.labels,
        # The database keeps finer times than we print: a job must not come after its own printed time.
        created_after=None if query.created_after is None else query.created_after.timestamp() + MICROSECOND,
    )
    found = reading.listing(here.database, auth.owner(), filters, after=after, limit=query.limit + 1)
    page = found[: query.limit]
    more = len(found) > query.limit
    following = here.cursors.sign((page[-1].created_at, page[-1].id), context) if more else None
    return jsonify(jobs=[job_json(job) for job in page], next=following)


def visible(job_id: str) -> JobView:
    """A job that this request's caller may see; raises 404."""
    job = reading.get(services().database, job_id, auth.owner())
    if job is None:
        raise Problem("not-found")
    return job


def _held(job: JobView, seconds: float) -> JobView:
    """The job when it has ended, or as it is where the time ran out. Gives back the place that was taken for it."""
    here = services()
    watch = here.poller.watch(job.id)
    try:
        watch.wait(seconds)
    finally:
        here.poller.forget(watch)
        here.holds.give_back()
    return visible(job.id)
