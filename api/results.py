"""GET /v1/jobs/{id}/result and its artifacts."""

from __future__ import annotations

from typing import BinaryIO

from flask import Response, jsonify, request
from werkzeug.wsgi import wrap_file

from api import auth, documenting
from api.headers import GUARDED
from api.job_reading import RETRY_AFTER_S, visible
from api.problems import Problem
from api.reports import REPORT, render
from api.routing import Routes
from api.schemas import ArtifactPath, JobPath
from api.services import services
from db import audit, reading
from db.records import JobView, StoredResult
from jobs.results import Result
from jobs.states import State

routes = Routes("results", __name__, url_prefix="/v1")

INLINE = frozenset({"image/png", "image/jpeg", "image/svg+xml", "text/html", "text/plain"})
"""Types that a browser shows; the rest it saves. All under a policy that runs nothing."""


@routes.get("/jobs/<uuid:job_id>/result", responses={200: Result})
@auth.needs("read")
def read(path: JobPath) -> Response:
    """The result of a succeeded job."""
    job, stored = _committed(str(path.job_id))
    audit.record(services().database, auth.current().id, "result.read", job.id, synced=False)
    return jsonify(stored.result)


@routes.get("/jobs/<uuid:job_id>/artifacts/<name>", responses={200: documenting.BYTES})
@auth.needs("read")
def artifact(path: ArtifactPath) -> Response:
    """A file that the job made. `report.html` is drawn anew from the stored result."""
    here = services()
    job, stored = _committed(str(path.job_id))
    found = next((one for one in stored.artifacts if one.name == path.name), None)
    drawn = path.name == REPORT
    if found is None and not drawn:
        raise Problem("not-found")
    audit.record(here.database, auth.current().id, "artifact.read", f"{job.id}/{path.name}", synced=False)
    if found is None or drawn:
        media_type = "text/html; charset=utf-8"
        answer = Response(render(here.database, here.storage, job, stored).encode(), content_type=media_type)
    else:
        media_type, stream = found.media_type, _opened(job, stored, found.name)
        # In pieces: a table of a million molecules has 150 MB.
        pieces = wrap_file(request.environ, stream, 1 << 18)
        answer = Response(pieces, content_type=media_type, direct_passthrough=True)
        answer.content_length = found.size
    shown = "inline" if media_type.partition(";")[0] in INLINE else "attachment"
    answer.headers["Content-Disposition"] = f'{shown}; filename="{path.name}"'
    answer.headers.update(GUARDED)
    return answer


def _opened(job: JobView, stored: StoredResult, name: str) -> BinaryIO:
    try:
        return services().storage.open_artifact(job.id, stored.fence, name)
    except FileNotFoundError:
        raise Problem("not-found", "The bytes of this artifact are gone from the storage.") from None


def _committed(job_id: str) -> tuple[JobView, StoredResult]:
    """A job with its result; raises 404 or 409."""
    job = visible(job_id)
    if job.state is State.FAILED:
        error = job.error or {}
        raise Problem("job-failed", f"There is no result: {error.get('detail', 'see the job')}", error=job.error)
    if job.state is State.CANCELLED:
        raise Problem("job-cancelled")
    stored = reading.result(services().database, job_id) if job.state is State.SUCCEEDED else None
    if stored is None:
        raise Problem("job-not-finished", headers={"Retry-After": str(RETRY_AFTER_S)})
    return job, stored
