"""POST /v1/jobs/{id}:cancel and DELETE /v1/jobs/{id}."""

from __future__ import annotations

import logging
from http import HTTPStatus

from flask import Response, jsonify

from api import auth
from api.job_reading import visible
from api.presenting import job_json
from api.problems import Problem
from api.routing import Routes
from api.schemas import JobBody, JobPath
from api.services import services
from db import audit, retention
from db import jobs as rows
from jobs.errors import StorageUnavailable

log = logging.getLogger("medjobs.api")

routes = Routes("job_control", __name__, url_prefix="/v1")


@routes.post("/jobs/<uuid:job_id>:cancel", responses={202: JobBody})
@auth.needs("submit")
def cancel(path: JobPath) -> tuple[Response, int]:
    """Cancel a job: at once where it waits, at its next phase where it runs. Again changes nothing."""
    here = services()
    job_id = str(path.job_id)
    answer = rows.request_cancel(here.database, job_id, auth.owner())
    if answer is None:
        raise Problem("not-found")
    audit.record(here.database, auth.current().id, "cancel", job_id)
    if not answer.accepted:
        raise Problem("job-ended", f"The job has {answer.state.value} and cannot be cancelled.")
    return jsonify(job_json(visible(job_id))), HTTPStatus.ACCEPTED


@routes.delete("/jobs/<uuid:job_id>", responses={204: None})
@auth.needs("submit")
def delete(path: JobPath) -> tuple[str, int]:
    """Delete an ended job: its record, its result and files, and its inputs where nothing else needs them."""
    here = services()
    job_id = str(path.job_id)
    answer = retention.delete_job(here.database, job_id, auth.owner())
    if answer.state is None:
        raise Problem("not-found")
    if answer.in_use:
        raise Problem("job-in-use")
    if not answer.deleted:
        raise Problem("job-running", f"The job is {answer.state.value}; cancel it first, or wait until it has ended.")
    audit.record(here.database, auth.current().id, "delete", job_id)
    try:
        here.storage.delete_job(job_id)
    except StorageUnavailable:
        # The record is gone and with it every way to the files; the keeper's sweep takes folders without a record.
        log.warning("the files of a deleted job are left to the keeper")
    return "", HTTPStatus.NO_CONTENT
