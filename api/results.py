"""GET /v1/jobs/{id}/result and its artifacts."""

from __future__ import annotations

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
from db.records import JobView, Preview, StoredArtifact, StoredResult
from jobs.results import Result
from jobs.states import FINAL, State

routes = Routes("results", __name__, url_prefix="/v1")

INLINE = frozenset({"image/png", "image/jpeg", "image/svg+xml", "text/html", "text/plain"})
"""Types that a browser shows; the rest it saves. All under a policy that runs nothing."""


@routes.get("/jobs/<uuid:job_id>/result", responses={200: Result})
@auth.needs("read")
def read(path: JobPath) -> Response:
    """The result of a succeeded job."""
    job, stored = _committed(visible(str(path.job_id)))
    audit.record(services().database, auth.current().id, "result.read", job.id, synced=False)
    return jsonify(stored.result)


@routes.get("/jobs/<uuid:job_id>/artifacts/<name>", responses={200: documenting.BYTES})
@auth.needs("read")
def artifact(path: ArtifactPath) -> Response:
    """A file that the job made, or one that it shows while it runs (its `artifact` events name those).

    `report.html` is drawn anew from the stored result.
    """
    here = services()
    job = visible(str(path.job_id))
    if (shown := _shown(job, path.name)) is not None:
        audit.record(here.database, auth.current().id, "artifact.read", f"{job.id}/{path.name}", synced=False)
        return _sent(path.name, _file(job, shown.fence, shown))
    job, stored = _committed(job)
    found = next((one for one in stored.artifacts if one.name == path.name), None)
    drawn = path.name == REPORT
    if found is None and not drawn:
        raise Problem("not-found")
    audit.record(here.database, auth.current().id, "artifact.read", f"{job.id}/{path.name}", synced=False)
    if found is None or drawn:
        page = render(here.database, here.storage, job, stored).encode()
        return _sent(path.name, Response(page, content_type="text/html; charset=utf-8"))
    return _sent(path.name, _file(job, stored.fence, found, found.size))


def _sent(name: str, answer: Response) -> Response:
    how = "inline" if answer.mimetype in INLINE else "attachment"
    answer.headers["Content-Disposition"] = f'{how}; filename="{name}"'
    answer.headers.update(GUARDED)
    return answer


def _shown(job: JobView, name: str) -> Preview | None:
    """What a job that has not ended shows under a name."""
    if job.state in FINAL:
        return None
    found = reading.previews(services().database, [job.id]).get(job.id, ())
    return next((one for one in found if one.name == name), None)


def _file(job: JobView, fence: int, file: Preview | StoredArtifact, size: int | None = None) -> Response:
    """A stored file in pieces: a table of a million molecules has 150 MB."""
    try:
        stream = services().storage.open_artifact(job.id, fence, file.name)
    except FileNotFoundError:
        raise Problem("not-found", "The bytes of this artifact are gone from the storage.") from None
    pieces = wrap_file(request.environ, stream, 1 << 18)
    answer = Response(pieces, content_type=file.media_type, direct_passthrough=True)
    if size is not None:
        answer.content_length = size
    return answer


def _committed(job: JobView) -> tuple[JobView, StoredResult]:
    """A job with its result; raises 409."""
    if job.state is State.FAILED:
        error = job.error or {}
        raise Problem("job-failed", f"There is no result: {error.get('detail', 'see the job')}", error=job.error)
    if job.state is State.CANCELLED:
        raise Problem("job-cancelled")
    stored = reading.result(services().database, job.id) if job.state is State.SUCCEEDED else None
    if stored is None:
        raise Problem("job-not-finished", headers={"Retry-After": str(RETRY_AFTER_S)})
    return job, stored
