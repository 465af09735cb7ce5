"""GET /v1/jobs/{id}/events: server-sent events (WHATWG HTML, 9.2) with resume."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus

from flask import Response, request

from api import auth, documenting
from api.job_reading import visible
from api.presenting import moment
from api.problems import FieldError, Problem
from api.routing import Routes
from api.schemas import JobPath
from api.services import Services, services
from db import reading
from db.records import Event
from jobs.states import FINAL

routes = Routes("events", __name__, url_prefix="/v1")

HEARTBEAT_S = 15.0
"""A comment after this long without an event: proxies close silent connections, and a dead client is noticed."""

PAGE = 500
RETRY_AFTER_S = 5
_ENDS = frozenset(state.value for state in FINAL)


@routes.get(
    "/jobs/<uuid:job_id>/events",
    responses={200: documenting.STREAM, 204: None},
    openapi_extensions={"description": "`Last-Event-ID` resumes after that event."},
)
@auth.needs("read")
def stream(path: JobPath) -> Response:
    """The job's events: state, progress, metric, log, artifact. Ends with the job.

    An artifact event names a file that can be had while the job runs: `name`, `media_type`, `href`, `step`.
    """
    here = services()
    after = _last_event_id()
    job = visible(str(path.job_id))
    ended = job.state in FINAL
    if ended and after and not reading.events(here.database, job.id, after, 1):
        return Response(status=HTTPStatus.NO_CONTENT)  # tells an EventSource to stop asking
    if not here.holds.take():
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        raise Problem("too-many-streams", headers=headers)
    answer = Response(_lines(here, job.id, after, ended), mimetype="text/event-stream")
    # The generator may never start (a client that is gone already), so its own `finally` would not do.
    answer.call_on_close(here.holds.give_back)
    answer.headers["X-Accel-Buffering"] = "no"
    return answer


def _lines(here: Services, job_id: str, after: int, ended: bool) -> Iterator[str]:
    """What happened, then what happens. `ended`: the job had ended before the first look, so the replay is complete."""
    yield "retry: 1000\n\n"
    while True:
        page = reading.events(here.database, job_id, after, PAGE)
        for event in page:
            yield _line(event)
            after = event.id
            ended = ended or _is_end(event)
        if len(page) < PAGE:
            break
    if not ended:
        yield from _live(here, job_id, after)


def _live(here: Services, job_id: str, after: int) -> Iterator[str]:
    watch = here.poller.watch(job_id, after)
    try:
        while not here.poller.stopping:
            events = watch.wait(HEARTBEAT_S)
            yield "".join(map(_line, events)) or ": still here\n\n"
            if any(map(_is_end, events)):
                return
    finally:
        here.poller.forget(watch)


def _line(event: Event) -> str:
    data = json.dumps({"at": moment(event.at), **event.data}, separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.type}\ndata: {data}\n\n"


def _is_end(event: Event) -> bool:
    return event.type == "state" and event.data.get("state") in _ENDS


def _last_event_id() -> int:
    text = request.headers.get("Last-Event-ID", "0")
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        error = FieldError("#/headers/Last-Event-ID", "Give the number of the last event, as its `id:` line had it.")
        raise Problem("invalid-request", errors=[error])
    return int(text)
